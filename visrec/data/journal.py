"""A journal: which images of a half-made data set are already decoded, line by line, so that the work can go on.

The pixels of an image are written first, its line second, with a checksum of the pixels: a line that is there and whole
speaks for a row that is there and whole, whatever moment the process was killed at. Lines may be written a little
later, several at once: a line that is missing only costs decoding that image again.
"""

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

FACTS = "facts.jsonl"
FLUSH_SECONDS = 0.2  # work that a killed process may have done in vain
COLUMNS = {
    "file": "str",
    "etag": "str",
    "row": "int64",
    "sha256": "str",
    "width": "int64",
    "height": "int64",
    "status": "str",
}


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
        for fact in self._facts.values():
            self._write(fact)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._out.close()
        os.close(self._pixels)

    def left(self) -> list[str]:
        """The files that are not decoded yet, in order."""
        return [file for file in self._rows if file not in self._facts]

    def put(self, file: str, pixels: np.ndarray) -> int:
        """Write the pixels of one image and give their checksum; any thread may, for images of its own.

        Written rather than assigned to a memory map, whose page faults would hold up every other thread.
        """
        data = memoryview(np.ascontiguousarray(pixels)).cast("B")
        check, at = zlib.crc32(data), self._offset + self._rows[file] * len(data)
        while data:
            written = os.pwrite(self._pixels, data, at)
            data, at = data[written:], at + written
        return check

    def note(self, file: str, etag: str, facts: dict, check: int | None) -> None:
        """Remember what is known of one image; ``check`` is what `put` gave, None for one that could not be decoded."""
        row = -1 if check is None else self._rows[file]
        fact = {"file": file, "etag": etag, "row": row, **facts, "crc": check}
        self._facts[file] = fact
        self._write(fact)

    def finish(self) -> pd.DataFrame:
        """Flush the pixels and give the table of facts, in the order of the rows."""
        os.fsync(self._pixels)
        facts = pd.DataFrame([self._facts[file] for file in self._rows], columns=list(COLUMNS))
        return facts.astype(COLUMNS)

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
            if fact["row"] == row and zlib.crc32(np.ascontiguousarray(images[row])) == fact["crc"]:
                yield fact
