"""Uploads: every refusal is a sentence, and nothing costly happens before it."""

import base64
import contextlib
import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, features
from planted_models import drawn_image

from visrec.data.images import decode
from visrec.errors import InputError
from visrec.explain.upload import read_upload

HEIC = """AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJp
bG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAACMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/Wlwcn
AAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAA
AwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2
xhcAAAADAAAAABAAAAQAAAAAH////wAAAAAgAAAAAAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAACttZGF0AAAA
HygBrwtg9eWDr//w8nfoGIOdAVMvf++aG9O9X5+fsyw="""
"""A drawn HEIC photo of 48 x 64 pixels, red above and blue below."""


def encoded(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings almost no data."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


REFUSED = {
    "a PDF renamed": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", r"'it\.jpg' is a PDF document, whatever its name says"),
    "a text file": ("Grüße,\nvisrec\n".encode() * 100, "is a text file.*Expected an image: JPEG"),
    "a web page": (b"<!DOCTYPE html><html>", "is a web page"),
    "a zip": (b"PK\x03\x04" + bytes(100), "is an archive"),
    "nothing": (b"", r"is empty \(0 bytes\)"),
    "noise": (bytes(range(128, 256)) * 9, "not an image that can be read"),
    "one pixel": (encoded(np.zeros((1, 1, 3), np.uint8), "PNG"), "1 x 1 pixels, expected at least 16"),
    "a thin line": (encoded(np.zeros((8, 300, 3), np.uint8), "PNG"), "300 x 8 pixels"),
    "51 megapixels": (png_header(8500, 6000), "50 megapixels"),
    "a bomb": (png_header(200_000, 200_000), "50 megapixels"),
    "21 MB": (b"\xff\xd8" + bytes(21_000_000), "21 MB, expected at most 20 MB"),
    "half a PNG": (encoded(drawn_image(64), "PNG")[:4000], "damaged or cut off"),
    "a header alone": (png_header(640, 480), "damaged or cut off"),
    "PostScript": (encoded(drawn_image(32), "EPS"), "is a text file|of kind EPS"),
    "an icon": (encoded(drawn_image(32), "ICO"), "of kind ICO, expected JPEG"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_is_refused_in_a_sentence(case):
    """It says what came, what was expected and how to mend it; and it is quick, whatever the header claims."""
    data, words = REFUSED[case]
    started = time.perf_counter()

    with pytest.raises(InputError, match=words) as caught:
        read_upload(data, "it.jpg")

    assert time.perf_counter() - started < 2
    assert str(caught.value).endswith(".")


SOUND = {kind: encoded(drawn_image(24), kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")}
SOUND["HEIF"] = base64.b64decode(HEIC)
if features.check("avif"):
    SOUND["AVIF"] = encoded(drawn_image(24), "AVIF")


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_damage_to_a_file_of_any_kind_is_more_than_a_sentence(kind):
    """Seeded cuts and changed bytes: pixels or InputError, never a fault that the page would show as its own."""
    data, rng = SOUND[kind], np.random.default_rng(0)
    for i in range(200):
        spoilt = np.frombuffer(data, np.uint8).copy()
        where = rng.integers(0, len(data), rng.integers(1, 9))
        spoilt[where] = rng.integers(0, 256, len(where))
        spoilt = spoilt[: len(data) * i // 200] if i % 2 else spoilt
        with contextlib.suppress(InputError):
            assert (24, 24, 3) == read_upload(spoilt.tobytes(), "it", 24).shape


def test_a_phone_photo_is_turned_upright():
    """EXIF orientation 6 means: the top of the scene is the right side of the pixels."""
    upright = drawn_image(64)[:48]
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(upright)  # what a sensor held sideways writes

    found = read_upload(encoded(np.ascontiguousarray(stored), "PNG", exif=exif), "photo.png")

    np.testing.assert_array_equal(found, upright)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "YCbCr"])
def test_any_mode_becomes_rgb(mode):
    """Whatever a file holds, the model gets three channels of uint8."""
    kind = "TIFF" if mode in ("CMYK", "F", "I;16", "YCbCr") else "PNG"
    image = Image.fromarray(drawn_image(32)).convert("L" if mode == "I;16" else mode)
    image = image.convert("I;16") if mode == "I;16" else image

    found = read_upload(encoded(image, kind), "it")

    assert (32, 32, 3) == found.shape
    assert np.uint8 == found.dtype


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_usual_kinds_are_read_whatever_the_name(kind):
    """The content decides, not the ending."""
    found = read_upload(encoded(drawn_image(40), kind), "wrong.ending")

    assert (40, 40, 3) == found.shape


def test_apple_photos_are_read():
    """HEIC comes from every iPhone; pi-heif decodes it."""
    found = read_upload(base64.b64decode(HEIC), "IMG_0001.HEIC")

    assert (64, 48, 3) == found.shape
    np.testing.assert_allclose([found[5, 5], found[60, 5]], [[200, 40, 40], [40, 40, 200]], atol=4)


def test_the_model_sees_the_pixels_it_was_trained_on():
    """An upload is resized exactly as the training data was, or the same file would get two answers."""
    data = encoded(drawn_image(300), "JPEG", quality=95)

    np.testing.assert_array_equal(read_upload(data, "it.jpg", 64), decode(data, 64))


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    """The image lives in memory only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    read_upload(encoded(drawn_image(40), "PNG"), "secret.png")

    assert [] == list(tmp_path.rglob("*"))
