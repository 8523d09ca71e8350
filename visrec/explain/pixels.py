"""Pixels of some images of a bucket, in batches, for what looks at images after a training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from visrec.errors import InputError, OutsideError, RunError
from visrec.explain.lime_image import Progress, Stop

if TYPE_CHECKING:
    from visrec.storage.base import Store

BATCH = 256


def read_pixels(
    store: "Store",
    files: list[str],
    size: int,
    *,
    fit: str = "stretch",
    batch: int = BATCH,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Read, decode and resize images as for training.

    Parameters
    ----------
    files : keys in the store
    size : side in pixels
    fit : how a rectangle becomes a square, as the model was trained

    Yields
    ------
    (list of str, uint8 (b, size, size, 3))
        In the order of arrival. An image that cannot be read or decoded any more is left out.

    Raises
    ------
    OutsideError
        The store failed, after its retries.
    RunError
        ``stop`` asked to end.
    """
    from visrec.data.images import decode

    names: list[str] = []
    pixels: list[np.ndarray] = []
    for done, (name, data) in enumerate(store.read_many(files, stop), 1):
        if stop is not None and stop():
            raise RunError("Reading the images was cancelled.")
        if isinstance(data, OutsideError):
            raise data
        if not isinstance(data, Exception):
            try:
                pixels.append(decode(data, size, fit))
                names.append(name)
            except InputError:  # set aside: it was readable at training, or it would not be in the table
                pass
        if progress is not None:
            progress(done, len(files))
        if len(names) == batch:
            yield names, np.stack(pixels)
            names, pixels = [], []
    if stop is not None and stop():
        raise RunError("Reading the images was cancelled.")
    if names:
        yield names, np.stack(pixels)
