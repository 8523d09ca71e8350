"""Features: what the frozen backbone makes of each image, computed once and kept on disk.

An epoch of head training then reads a small table instead of pushing every image through the network again. The
table is a memory map beside the prepared pixels' cache, so that its size does not count as the process's memory.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.model import caches

if TYPE_CHECKING:
    import keras
    import numpy as np


def compute(
    engine, images: "np.ndarray", rows: "np.ndarray", path: Path, *, progress: Callable[[int, int], None] | None = None
) -> "np.ndarray":
    """Run an engine over some rows of the pixels, or take what an earlier, finished run of this left.

    Parameters
    ----------
    engine : as of `visrec.model.engine`, giving features
    images : uint8 (n, size, size, 3), usually a memory map
    rows : int (m,), which images, in which order
    path : where the ``.npy`` goes; written as temporary, then renamed
    progress : called with (done, m); may raise to stop

    Returns
    -------
    memory map, float32 (m, width)
    """
    import numpy as np

    if path.is_file():
        kept = np.load(path, mmap_mode="r")
        if kept.shape == (len(rows), engine.width):
            caches.touch(path)
            return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    table = np.lib.format.open_memmap(partial, "w+", np.float32, (len(rows), engine.width))
    engine(Rows(images, rows), out=table, progress=progress and (lambda done: progress(done, len(rows))))
    table.flush()
    partial.replace(path)
    return np.load(path, mmap_mode="r")


def fingerprint(model: "keras.Model", data: str, rows: "np.ndarray", engine: str) -> str:
    """A name for a table of features: the weights, the pixels, the rows and the engine that made it."""
    import numpy as np

    digest = hashlib.sha256(json.dumps([data, engine, list(map(str, model.input_shape))]).encode())
    digest.update(np.ascontiguousarray(rows, np.int64).tobytes())
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:24]


class Rows:
    """Some rows of a memory map as if they were an array, without copying them all."""

    def __init__(self, images, rows):
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part):
        return self._images[self._rows[part]]
