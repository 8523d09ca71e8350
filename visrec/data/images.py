"""From bytes to pixels: one decoder for training, predicting and explaining, so that all three see the same image.

Pixels are uint8 RGB. EXIF orientation is applied, transparency is laid on white, 16-bit greys are scaled to 8,
of an animation the first frame counts.
"""

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from visrec.errors import InputError

MAX_PIXELS = 50_000_000
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FITS = ("stretch", "crop", "pad")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
WHITE = (255, 255, 255)
ORIENTATION = 0x0112  # EXIF tag
DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow and its plugins raise on a damaged file: each format has its own habits (AVIF: RuntimeError)."""


class BadImage(InputError):
    """Bytes that cannot become pixels; ``kind`` is the problem's stable name."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def is_image_name(key: str) -> bool:
    """Whether a key ends like an image, in any case; what is hidden or in a hidden folder does not count, nor do macOS
    resource forks.

    >>> [is_image_name(k) for k in ("a/B.JPG", "x.csv", ".Trash-1000/files/a.jpg", "__MACOSX/._a.jpg")]
    [True, False, False, False]
    """
    return key.lower().endswith(EXTENSIONS) and "/." not in f"/{key}" and not key.startswith("__MACOSX/")


def decode(data: bytes, size: int | None = None, fit: str = "stretch") -> np.ndarray:
    """Decode an image.

    Parameters
    ----------
    data : an encoded image, any format Pillow reads
    size : side of the square result in pixels; None keeps the image's own size
    fit : how a rectangle becomes a square: ``stretch``, ``crop`` (its middle) or ``pad`` (with white)

    Returns
    -------
    uint8 array (height, width, 3), RGB in 0..255

    Raises
    ------
    InputError
        Empty, not an image, cut off, or more than 50 megapixels; the message says which.
    """
    return np.asarray(to_square(open_image(data, size), size, fit), dtype=np.uint8)


def open_image(data: bytes, size: int | None = None) -> Image.Image:
    """An upright RGB image; with ``size``, a JPEG may be decoded at a reduced scale of at least twice that."""
    return load(read_header(data), size)


def load(image: Image.Image, size: int | None = None) -> Image.Image:
    """Decode what `read_header` opened, as `open_image` does."""
    if size is not None and image.format == "JPEG":
        image.draft("RGB", (2 * size, 2 * size))
    try:
        image.load()
        return to_rgb(upright(image))
    except Image.DecompressionBombError as error:  # a frame may be larger than its header says
        raise _bomb(error) from error
    except DAMAGE as error:
        raise BadImage("truncated", f"The image is damaged or cut off ({_reason(error)}).") from error


def read_header(data: bytes) -> Image.Image:
    """The image with its size known and its pixels not yet decoded."""
    if not data:
        raise BadImage("zero_byte", "The image is an empty file (0 bytes).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise _bomb(error) from error
    except UnidentifiedImageError as error:
        if data.startswith(MAGIC):
            raise BadImage("unreadable", "The image's header is damaged or cut off.") from error
        raise BadImage("non_image", _not_an_image(data)) from error
    except DAMAGE as error:
        kind = "truncated" if "trunc" in str(error).lower() else "unreadable"
        raise BadImage(kind, f"The image cannot be read, it is damaged or cut off ({_reason(error)}).") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(
            "decompression_bomb",
            f"The image has {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} megapixels are decoded.",
        )
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; a damaged EXIF block counts as none."""
    try:
        if image.getexif().get(ORIENTATION, 1) == 1:  # Pillow would copy every pixel
            return image
        return ImageOps.exif_transpose(image)
    except DAMAGE:
        return image


def frames(image: Image.Image) -> int:
    """How many pictures a file holds; 1 where its list of them is cut off or damaged.

    A JPEG of several pictures (MPO) is a photo with its preview, not an animation, and counts as one.
    """
    try:
        return getattr(image, "n_frames", 1) if image.format in ("GIF", "WEBP", "PNG", "TIFF") else 1
    except DAMAGE:
        with contextlib.suppress(*DAMAGE):
            image.seek(0)  # counting may have stopped between two pictures; the first one is what is decoded
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: transparency on white, 16-bit and float greys scaled to 8 bits."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _grey16(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def to_square(image: Image.Image, size: int | None, fit: str = "stretch") -> Image.Image:
    """Resize to ``size`` x ``size``; None leaves the image alone."""
    if size is None:
        return image
    if fit not in FITS:
        raise InputError(f"fit is '{fit}'; expected one of {', '.join(FITS)}.")
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if fit == "pad" and width != height:
        return _padded(image, size)
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def _padded(image: Image.Image, size: int) -> Image.Image:
    """The whole image on white. Rounded by whole numbers, so that the exported model can do exactly the same."""
    longest = max(image.size)
    inner = tuple(max(1, (2 * size * edge + longest) // (2 * longest)) for edge in image.size)
    square = Image.new("RGB", (size, size), WHITE)
    square.paste(image.resize(inner, Image.Resampling.BILINEAR), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square


def _grey16(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits as 8. No such file says which value is white; its brightest pixel tells."""
    values = np.asarray(image, dtype=np.float64)
    brightest = float(values.max(initial=0, where=np.isfinite(values)))
    if image.mode == "F" and 0 < brightest <= 1:  # floats of 0..1, as scientific software writes them
        top = brightest
    else:
        top = 255.0 if brightest <= 255 else 65535.0
    values = np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0)
    return Image.fromarray(np.clip(values * (255.0 / top), 0, 255).round().astype(np.uint8))


def _bomb(error: Exception) -> BadImage:
    return BadImage("decompression_bomb", f"The image is too large to decode safely ({_reason(error)}).")


def _not_an_image(data: bytes) -> str:
    head = data[:64].lstrip().lower()
    looks = ""
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        looks = " It looks like a web page, perhaps an error message saved in its place."
    elif head.startswith(b"%pdf"):
        looks = " It looks like a PDF."
    elif b"ftypheic" in data[:32] or b"ftypmif1" in data[:32]:
        looks = " It looks like an Apple HEIC photo; convert it to JPEG."
    return f"The file is not an image ({len(data):,} bytes).{looks} Expected JPEG, PNG, WebP, BMP, GIF or TIFF."


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
