"""Tests for visrec.data.images: every kind of image becomes upright RGB, everything else a sentence."""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, features

from visrec.data.images import BadImage, decode, frames, is_image_name, read_header
from visrec.data.scan import look
from visrec.errors import InputError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(image: Image.Image, form="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def half(width=20, height=10) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "WEBP", "TIFF", "JPEG"])
def test_common_formats_are_read(form):
    """Shape, type and about the right colours."""
    pixels = decode(encoded(half(), form))

    assert (10, 20, 3) == pixels.shape
    assert np.uint8 == pixels.dtype
    assert pixels[5, 2, 0] > 200 > 60 > pixels[5, 2, 2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    """All eight: what was stored turned comes out upright."""
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    image = half()
    stored = image if undo is None else image.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert np.array_equal(np.asarray(image), decode(encoded(stored, exif=exif)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "RGBA", "I;16", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    """Palette, alpha, CMYK, 16-bit: uint8 RGB."""
    image = (
        Image.new("I;16", (4, 4), 65535) if mode == "I;16" else Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode)
    )
    form = {"CMYK": "TIFF", "YCbCr": "TIFF"}.get(mode, "PNG")

    pixels = decode(encoded(image, form))

    assert (4, 4, 3) == pixels.shape
    assert pixels.min() >= 250


def test_sixteen_bits_are_scaled_not_cut():
    """Half of 65535 is half of 255."""
    image = Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16))

    assert abs(int(decode(encoded(image))[0, 0, 0]) - 127.5) <= 1


def test_transparency_lies_on_white():
    """A cut-out object on no ground."""
    assert [255, 255, 255] == decode(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))))[0, 0].tolist()


def test_first_frame_of_an_animation_counts():
    """A GIF of two frames."""
    data = encoded(Image.new("RGB", (4, 4), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (4, 4), BLUE)])

    assert [255, 0, 0] == decode(data)[0, 0].tolist()


@pytest.mark.parametrize(("fit", "corner"), [("stretch", RED), ("crop", RED), ("pad", (255, 255, 255))])
def test_rectangle_becomes_a_square(fit, corner):
    """Stretched, cut or padded with white."""
    pixels = decode(encoded(half(40, 10)), 8, fit)

    assert (8, 8, 3) == pixels.shape
    assert tuple(pixels[0, 0]) == corner
    assert tuple(pixels[4, 0]) == RED


def test_large_jpeg_at_reduced_scale_looks_the_same():
    """The short cut through the JPEG's own scaling changes hardly a grey level."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
        (1200, 1200), Image.Resampling.BICUBIC
    )
    data = encoded(smooth, "JPEG", quality=95)
    plain = np.asarray(Image.open(io.BytesIO(data)).resize((96, 96), Image.Resampling.BILINEAR), dtype=int)

    assert np.abs(decode(data, 96).astype(int) - plain).mean() < 1.0


BROKEN = {
    "zero_byte": (b"", "empty file"),
    "non_image": (b"just some text, saved as .jpg" * 5, "not an image"),
    "web page": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "truncated": (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:800], "cut off"),
    "header only": (encoded(half())[:20], "image"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_image_is_a_sentence(kind):
    """What came and what was expected; no traceback of Pillow's."""
    data, words = BROKEN[kind]

    with pytest.raises(InputError, match=words):
        decode(data)


def test_bomb_is_refused_before_it_is_unpacked():
    """A few kB that would become 200 megapixels, and one that Pillow itself would let pass."""
    for side in (14_200, 8_000):
        with pytest.raises(InputError, match=r"decode safely|megapixels are decoded"):
            decode(encoded(Image.new("1", (side, side))))


def pages() -> bytes:
    """A TIFF of two pages."""
    return encoded(half(), "TIFF", save_all=True, append_images=[half()])


SOUND = {
    "JPEG": encoded(half(), "JPEG"),
    "PNG": encoded(half()),
    "BMP": encoded(half(), "BMP"),
    "GIF": encoded(half(), "GIF", save_all=True, append_images=[half(20, 10).transpose(1)]),
    "WEBP": encoded(half(), "WEBP"),
    "TIFF": pages(),
    "AVIF": encoded(half(), "AVIF") if features.check("avif") else b"",
    "EXIF": encoded(half(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
}


def spoilt(data: bytes, count: int = 150) -> Iterator[bytes]:
    """Seeded damage: the file cut at some length, or a few of its bytes changed."""
    rng = np.random.default_rng(len(data))
    for cut in np.unique(np.linspace(0, len(data), count).astype(int)):
        yield data[:cut]
    for _ in range(count):
        changed = np.frombuffer(data, np.uint8).copy()
        where = rng.integers(0, len(data), rng.integers(1, 9))
        changed[where] = rng.integers(0, 256, len(where))
        yield changed.tobytes()


@pytest.mark.parametrize("form", [form for form, data in SOUND.items() if data])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_damage_to_a_file_of_any_format_is_more_than_a_sentence(form):
    """One bad image of a bucket must never end a training or an inspection: nothing but InputError comes out."""
    for data in spoilt(SOUND[form]):
        with contextlib.suppress(InputError):
            decode(data, 8)
        with contextlib.suppress(InputError):
            assert frames(read_header(data)) >= 1
        assert look(data)["status"]


def test_a_damaged_avif_is_called_damaged():
    """Its plugin raises RuntimeError where others raise OSError."""
    data = SOUND["AVIF"]
    if not data:
        pytest.skip("this Pillow writes no AVIF")

    pixels = data.index(b"mdat") + 4

    with pytest.raises(BadImage, match="damaged or cut off"):
        decode(data[:pixels] + bytes(len(data) - pixels))


def test_a_damaged_exif_block_counts_as_none():
    """A text where a number belongs, as one changed byte makes it: the image is used as it lies."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    block = exif.tobytes().replace(b"\x01\x0f\x00\x02", b"\x01\x03\x00\x02")

    assert (10, 20, 3) == decode(encoded(half(), "JPEG", exif=block)).shape


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pages_are_counted_and_a_cut_list_of_them_is_one():
    """Pillow walks through the file to count; where that fails the first page still stands for it."""
    data = pages()

    assert 2 == frames(read_header(data))
    counts = set()
    for cut in range(len(data) - 1):
        with contextlib.suppress(InputError):
            counts.add(frames(read_header(data[:cut])))
    assert counts <= {1, 2}


@pytest.mark.parametrize("brightest", [1.0, 0.4])
def test_a_float_image_of_0_to_1_is_not_black(brightest):
    """As scientific software writes greys; its brightest pixel is white, NaN is black."""
    values = np.array([[0, brightest / 2, brightest, np.nan]], np.float32)

    assert [0, 128, 255, 0] == decode(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist()


def test_unknown_fit_is_refused():
    """The sentence lists the three."""
    with pytest.raises(InputError, match="stretch, crop, pad"):
        decode(encoded(half()), 8, "squeeze")


def test_image_names_in_any_case():
    """As cameras and Windows write them."""
    assert all(is_image_name(k) for k in ("a.JPG", "b/c.jpeg", "d.PNG", "e.webp"))
    assert not any(is_image_name(k) for k in ("a.csv", "jpg", "x/.hidden.jpg", "__MACOSX/a.jpg"))


def test_images_below_a_hidden_folder_do_not_count():
    """A dustbin or a cache is no class, wherever it lies."""
    assert not any(is_image_name(k) for k in (".Trash-1000/files/a.jpg", "cat/.thumbnails/a.jpg"))
    assert is_image_name("cat.photos/a.b.jpg")
