"""A scan looks at every image of a bucket once and notes what the doctor needs: hashes, size, format, damage.

What was noted is kept in ``scans/`` of the cache by name and ETag, so that a second look reads only what changed.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from visrec.data.images import DAMAGE, BadImage, frames, read_header, to_rgb, upright
from visrec.data.processors import processors
from visrec.data.unread import NOT_READ, status_of
from visrec.errors import OutsideError, RunError
from visrec.storage.base import ObjectInfo, Store
from visrec.storage.parallel import results

THUMB = 16  # side of the grey picture that perceptual hashes and comparisons are made of
VERSION = 1
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "GIF": (".gif",), "BMP": (".bmp",),
    "WEBP": (".webp",), "TIFF": (".tif", ".tiff"),
}  # fmt: skip
COLUMNS = {
    "etag": "str", "sha256": "str", "status": "str", "note": "str", "width": "int64", "height": "int64",
    "format": "str", "mode": "str", "frames": "int64", "orientation": "int64", "thumb": "object",
}  # fmt: skip
Progress = Callable[[int, int], None]


def scan(
    store: Store,
    objects: dict[str, ObjectInfo],
    images: list[str],
    cache_dir: Path | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Facts of each image, indexed by key.

    Returns
    -------
    DataFrame
        ``sha256``; ``status`` (``ok`` or the kind of damage); ``note`` (the damage in words); ``width``, ``height`` in
        pixels as stored; ``format``; ``mode`` (Pillow's); ``frames``; ``orientation`` (EXIF, 1 = upright); ``thumb``:
        256 bytes, the image as 16 x 16 greys, upright (missing where it could not be decoded)

    Raises
    ------
    OutsideError
        The store failed, or refused, for more than single images.
    RunError
        ``stop`` said so ("cancelled").
    """
    kept = _kept(cache_dir, store, objects)
    left = [key for key in images if key not in kept.index]
    rows, failures, total = {}, 0, len(images)
    if progress:
        progress(total - len(left), total)
    try:
        for (key, data), facts in results(_look, store.read_many(left, stop), threads=processors(), stop=stop):
            if isinstance(facts, Exception):
                raise facts
            failures += isinstance(data, OutsideError)
            done = total - len(left) + len(rows)
            # the store fails, not an object here and there, as in `prepare`
            if isinstance(data, OutsideError) and failures > max(20, done // 10):
                raise data
            rows[key] = {"etag": objects[key].etag, **facts}
            if progress:
                progress(total - len(left) + len(rows), total)
        if stop and stop():
            raise RunError("Looking at the images was cancelled; what was seen is kept for the next time.")
    except BaseException:  # whatever ends it, the next look goes on from here
        if cache_dir is not None and rows:
            _keep(cache_dir, store, _joined(kept, rows).astype(COLUMNS))
        raise
    whole = _joined(kept, rows)
    whole = whole.loc[images].astype(COLUMNS) if images else whole
    if cache_dir is not None and rows:
        _keep(cache_dir, store, whole)
    return whole.drop(columns="etag")


def _joined(kept: pd.DataFrame, rows: dict[str, dict]) -> pd.DataFrame:
    fresh = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))
    return pd.concat([kept, fresh]) if len(fresh) else kept


def look(data: bytes) -> dict:
    """Facts of one image; see `scan`."""
    facts = {
        "sha256": hashlib.sha256(data).hexdigest(), "status": "ok", "note": "", "width": 0, "height": 0, "format": "",
        "mode": "", "frames": 1, "orientation": 1, "thumb": None,
    }  # fmt: skip
    try:
        image = read_header(data)
        facts |= {"width": image.width, "height": image.height, "format": image.format or ""}
        facts |= {"mode": _mode(image), "frames": frames(image), "orientation": _orientation(image)}
        facts["thumb"] = _thumb(image)
    except BadImage as error:
        facts |= {"status": error.kind, "note": str(error)}
    except Exception as error:  # of a hundred thousand images, one that breaks the decoder must not end the look
        facts |= {"status": "unreadable", "note": f"The image cannot be read ({type(error).__name__}: {error})."}
    return facts


def _look(item: tuple[str, bytes | Exception]) -> dict:
    _, data = item
    if isinstance(data, Exception):
        facts = {**look(b""), "sha256": None, "note": str(data)}
        return {**facts, "status": status_of(data)}
    return look(data)


def _thumb(image: Image.Image) -> bytes:
    if image.format == "JPEG":
        image.draft("RGB", (4 * THUMB, 4 * THUMB))  # reads the whole stream, unpacks an eighth of it
    try:
        image.load()
        small = upright(image).copy()
        small.thumbnail((256, 256))
        grey = to_rgb(small).convert("L").resize((THUMB, THUMB), Image.Resampling.BOX)
    except DAMAGE as error:
        raise BadImage("truncated", f"The image is damaged or cut off ({str(error).rstrip('.')}).") from error
    return grey.tobytes()


def _mode(image: Image.Image) -> str:
    return image.mode + ("+transparency" if "transparency" in image.info else "")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except DAMAGE:
        return 1


def _path(cache_dir: Path, store: Store) -> Path:
    return Path(cache_dir) / "scans" / f"{hashlib.sha256(store.url.encode()).hexdigest()[:20]}-{VERSION}.parquet"


def _kept(cache_dir: Path | None, store: Store, objects: dict[str, ObjectInfo]) -> pd.DataFrame:
    empty = pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    if cache_dir is None:
        return empty
    try:
        kept = pd.read_parquet(_path(cache_dir, store)).set_index("file")
    except (OSError, ValueError, KeyError):
        return empty
    tags = pd.Series({key: info.etag for key, info in objects.items()}, dtype="str").reindex(kept.index)
    return kept[(tags == kept["etag"]).to_numpy() & ~kept["status"].isin(NOT_READ).to_numpy()]


def _keep(cache_dir: Path, store: Store, whole: pd.DataFrame) -> None:
    path = _path(cache_dir, store)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    whole.rename_axis("file").reset_index().to_parquet(buffer, index=False)
    from visrec.storage.folder import FolderStore

    FolderStore(path.parent).write(path.name, buffer.getvalue())


def thumbs(facts: pd.DataFrame) -> np.ndarray:
    """The grey thumbnails of images that could be decoded, float32 (n, 256), 0..255."""
    return np.frombuffer(b"".join(facts["thumb"]), dtype=np.uint8).reshape(len(facts), -1).astype(np.float32)
