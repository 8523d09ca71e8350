"""An upload: bytes that a stranger sent, made into pixels or refused in a sentence before anything costly happens.

Order matters: length, then kind, then size in pixels from the header, then decoding. The bytes stay in memory; nothing
here writes, logs or keeps them.
"""

import numpy as np

from visrec.data.images import MAX_PIXELS, BadImage, load, read_header, to_square
from visrec.errors import InputError

MAX_BYTES = 20_000_000
MIN_SIDE = 16
FORMATS = {"JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF", "AVIF"}
KINDS = "JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC"
EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "heic", "heif")
"""What an upload widget may offer; the content decides, never the name."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def read_upload(data: bytes, name: str, size: int | None = None, fit: str = "stretch") -> np.ndarray:
    """Decode an uploaded image, or say politely why not.

    Parameters
    ----------
    data : the file's bytes
    name : its name, only for the messages
    size : side of the square that the model takes, resized exactly as for training; None = the image's own size
    fit : how a rectangle becomes that square, as the model was trained

    Returns
    -------
    uint8 (h, w, 3)
        RGB, upright by its EXIF orientation, transparency on white; of an animation or a set of pages, the first.

    Raises
    ------
    InputError
        Empty, over 20 MB, not an image, over 50 megapixels, smaller than 16 pixels, or damaged.

    Examples
    --------
    >>> read_upload(b"%PDF-1.7 ...", "holiday.jpg")
    Traceback (most recent call last):
        ...
    visrec.errors.InputError: 'holiday.jpg' is a PDF document, whatever its name says. Expected an image: JPEG, PNG, \
WebP, BMP, TIFF, GIF or HEIC.
    """
    image = _checked_header(data, name)
    try:
        pixels = load(image, size)  # as the training data is read: same pixels in, same answer out
    except BadImage as error:
        raise InputError(_told(error, name, data)) from error
    return np.asarray(to_square(pixels, size, fit), dtype=np.uint8)


def _checked_header(data: bytes, name: str):
    if len(data) > MAX_BYTES:
        raise InputError(
            f"'{name}' is {len(data) / 1e6:.0f} MB, expected at most {MAX_BYTES / 1e6:.0f} MB. "
            "Make it smaller first; the model sees a few hundred pixels of it anyway."
        )
    kind = _other_kind(data)
    if kind:
        raise InputError(f"'{name}' is {kind}, whatever its name says. Expected an image: {KINDS}.")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        _learn_heif(name)
    try:
        image = read_header(data)
    except BadImage as error:
        raise InputError(_told(error, name, data)) from error
    if image.format not in FORMATS:  # Pillow would hand PostScript and others to programs outside
        raise InputError(f"'{name}' is of kind {image.format}, expected {KINDS}. Save it as one of them.")
    if min(image.size) < MIN_SIDE:
        raise InputError(
            f"'{name}' has {image.size[0]} x {image.size[1]} pixels, expected at least {MIN_SIDE} on each side; "
            "there is nothing in it to explain."
        )
    return image


def _other_kind(data: bytes) -> str | None:
    """Common things that are sent by mistake."""
    head = data[:1024].lstrip()
    if head.startswith(b"%PDF"):
        return "a PDF document"
    if head[:4] in (b"PK\x03\x04", b"Rar!") or head.startswith((b"7z\xbc\xaf", b"\x1f\x8b")):
        return "an archive or an Office document"
    if head[:16].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or a drawing in text form"
    if data[4:8] == b"ftyp" and data[8:12] in (b"isom", b"mp41", b"mp42", b"qt  ", b"avc1", b"iso5"):
        return "a film"
    if data and _is_text(data[:1024]):
        return "a text file"
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not merely a letter cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c in "\r\n\t\f" for c in text)


def _told(error: BadImage, name: str, data: bytes) -> str:
    if error.kind == "zero_byte":
        return f"'{name}' is empty (0 bytes). Expected an image: {KINDS}."
    if error.kind == "decompression_bomb":
        return (
            f"'{name}' has more pixels than are decoded here ({MAX_PIXELS / 1e6:.0f} megapixels at most). "
            "Make it smaller first."
        )
    if error.kind == "non_image":
        return f"'{name}' is not an image that can be read ({len(data):,} bytes). Expected {KINDS}."
    if error.kind == "truncated":
        return f"'{name}' is damaged or cut off: its pixels end early. Save or send it again."
    return f"'{name}' is damaged and cannot be read. Save or send it again."


def _learn_heif(name: str) -> None:
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        raise InputError(
            f"'{name}' is an Apple HEIC photo, and the package that reads those (pi-heif) is not installed. "
            "Convert it to JPEG, or `pip install pi-heif`."
        ) from None
    register_heif_opener()
