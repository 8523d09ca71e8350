"""Features: what the frozen backbone makes of each image, computed once and kept on disk.

An epoch of head training then reads a small table instead of pushing every image through the network again. The
table is a memory map beside the prepared pixels' cache, so that its size does not count as the process's memory.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import OutsideError
from visrec.model import caches
from visrec.storage.lock import file_lock

if TYPE_CHECKING:
    import keras
    import numpy as np


SPARE_BYTES = 200_000_000
"""What must stay free beside a table: the run's own files need room as well."""


def compute(
    engine,
    images: "np.ndarray",
    rows: "np.ndarray",
    path: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> "np.ndarray":
    """Run an engine over some rows of the pixels, or take what another run of this, finished or going on, leaves.

    Parameters
    ----------
    engine : as of `visrec.model.engine`, giving features
    images : uint8 (n, size, size, 3), usually a memory map
    rows : int (m,), which images, in which order
    path : where the ``.npy`` goes; written as temporary, then renamed
    progress : called with (done, m); may raise to stop
    stop : asked while another process makes the same table; True ends the wait

    Returns
    -------
    memory map, float32 (m, width)

    Raises
    ------
    OutsideError
        Too little space on the disk.
    RunError
        ``stop`` said so.
    """
    shape = (len(rows), engine.width)
    if (kept := _kept(path, shape)) is not None:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    # hidden, so that the cache's pruning takes it for the litter that it is a day later
    with file_lock(path.with_name(f".{path.name}.lock"), stop, "computes the same features"):
        if (kept := _kept(path, shape)) is None:  # another process may have made it while we waited
            _make(engine, Rows(images, rows), path, shape, progress)
            kept = _kept(path, shape)
    return kept


def _kept(path: Path, shape: tuple[int, int]) -> "np.ndarray | None":
    import numpy as np

    if not path.is_file():
        return None
    kept = np.load(path, mmap_mode="r")
    if kept.shape != shape:
        return None
    caches.touch(path)
    return kept


def _make(engine, images: "Rows", path: Path, shape: tuple[int, int], progress) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        table = _mapped(partial, shape)
        engine(images, out=table, progress=progress and (lambda done: progress(done, len(images))))
        table.flush()
        partial.replace(path)
    finally:  # what is half made is of no use, and its room is: a full disk must still hold the run's last status
        partial.unlink(missing_ok=True)


def _mapped(path: Path, shape: tuple[int, int]) -> "np.ndarray":
    """A new table whose blocks the disk has promised: writing to a map of one that it has not kills the process."""
    import numpy as np

    needed, free = shape[0] * shape[1] * 4, shutil.disk_usage(path.parent).free
    if needed + SPARE_BYTES > free:
        raise OutsideError(
            f"The features need {needed / 1e9:.1f} GB in {path.parent}, and {free / 1e9:.1f} GB are free. Free some "
            "space, point VISREC_CACHE to a larger disk, or choose a limit."
        )
    table = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return table


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
