"""A journal: which images of a half-made data set are already decoded, line by line, so that the work can go on.

The pixels of an image are written first, its line second, with a checksum of the pixels: a line that is there and whole
speaks for a row that is there and whole, whatever moment the process was killed at. Lines may be written a little
later, several at once: a line that is missing only costs decoding that image again.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

FACTS = "facts.jsonl"
FLUSH_SECONDS = 0.2  # work that a killed process may have done in vain
WRITE_BACK_SECONDS = 0.5
COLUMNS = {
    "file": "str",
    "etag": "str",
    "row": "int64",
    "sha256": "str",
    "width": "int64",
    "height": "int64",
    "status": "str",
}


def checksum(pixels: np.ndarray) -> int:
    """Sum of the pixels read as 8-byte words, modulo 2^64.

    It tells pixels from the zeros that a row holds before it reached the disk, which is all that a power cut leaves,
    at an eighth of the time of a CRC.

    Parameters
    ----------
    pixels : uint8 array, contiguous

    Examples
    --------
    >>> checksum(np.zeros((2, 2, 3), np.uint8)), checksum(np.ones((1, 3, 3), np.uint8)) == 0x0101010101010101 + 1
    (0, True)
    """
    flat = pixels.reshape(-1)
    words = len(flat) // 8 * 8
    total = int(flat[:words].view(np.uint64).sum(dtype=np.uint64)) + int(flat[words:].sum(dtype=np.uint64))
    return total % 2**64


class Journal:
    """The images and facts of a data set in the making.

    Parameters
    ----------
    folder : holds ``images.npy`` and ``facts.jsonl``; may be left from an earlier process
    files : keys in the order of their rows
    size : side of the images
    """

    def __init__(self, folder: Path, files: list[str], size: int):
        self._folder = folder
        self._rows = {file: row for row, file in enumerate(files)}
        self._shape = (len(files), size, size, 3)
        images = self._open_images()
        self._offset = images.offset
        self._pixels = os.open(folder / "images.npy", os.O_RDWR)
        self._facts = {fact["file"]: fact for fact in self._whole_facts(images)}
        self._out = open(folder / FACTS, "w", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)
        self._flushed = 0.0
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_back, name="visrec-write-back", daemon=True)
        self._writer.start()
        for fact in self._facts.values():
            self._write(fact)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._closing.set()
        self._writer.join()
        self._out.close()
        os.close(self._pixels)

    def left(self) -> list[str]:
        """The files that are not decoded yet, in order."""
        return [file for file in self._rows if file not in self._facts]

    def put(self, file: str, pixels: np.ndarray) -> int:
        """Write the pixels of one image and give their checksum; any thread may, for images of its own.

        Written rather than assigned to a memory map, whose page faults would hold up every other thread.
        """
        pixels = np.ascontiguousarray(pixels)
        data = memoryview(pixels).cast("B")
        check, at = checksum(pixels), self._offset + self._rows[file] * len(data)
        while data:
            written = os.pwrite(self._pixels, data, at)
            data, at = data[written:], at + written
        return check

    def note(self, file: str, etag: str, facts: dict, check: int | None) -> None:
        """Remember what is known of one image; ``check`` is what `put` gave, None for one that could not be decoded."""
        row = -1 if check is None else self._rows[file]
        fact = {"file": file, "etag": etag, "row": row, **facts, "check": check}
        self._facts[file] = fact
        self._write(fact)

    def finish(self) -> pd.DataFrame:
        """Flush the pixels and give the table of facts, in the order of the rows."""
        os.fsync(self._pixels)
        facts = pd.DataFrame([self._facts[file] for file in self._rows], columns=list(COLUMNS))
        return facts.astype(COLUMNS)

    def _write_back(self) -> None:
        """Let the disk take pixels while others are decoded, so that little is left to wait for in `finish`."""
        while not self._closing.wait(WRITE_BACK_SECONDS):
            with contextlib.suppress(OSError):  # `finish` asks again, and speaks up
                os.fdatasync(self._pixels)

    def _write(self, fact: dict) -> None:
        self._out.write(json.dumps(fact) + "\n")
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._out.flush()
            self._flushed = time.monotonic()

    def _open_images(self) -> np.memmap:
        path = self._folder / "images.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):
            images = np.lib.format.open_memmap(path, mode="r+")
            if images.shape == self._shape and images.dtype == np.uint8:
                return images
        (self._folder / FACTS).unlink(missing_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=self._shape)

    def _whole_facts(self, images: np.ndarray) -> Iterator[dict]:
        path = self._folder / FACTS
        if not path.is_file():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                fact = json.loads(line)
            except json.JSONDecodeError:  # the line that was being written when the process ended
                continue
            row = self._rows.get(fact.get("file"))
            if row is None or fact["row"] not in (row, -1):
                continue
            # images that failed are tried again: the store may have been the one to blame
            if fact["row"] == row and checksum(images[row]) == fact["check"]:
                yield fact
