"""An object of a bucket as a file that can be sought in: only the ranges that are asked for are read."""

import io

from visrec.storage.s3 import S3Store

BLOCK = 1 << 16  # bytes read ahead; entries of a zip lie one behind the other


def open_ranged(store: S3Store, key: str) -> io.BufferedReader:
    """The object as a binary file, read by ranges with the store's retries.

    Raises
    ------
    NotFoundError, AccessError, OutsideError
        As for reading the object.
    """
    return io.BufferedReader(_Ranges(store, key), BLOCK)


class _Ranges(io.RawIOBase):
    def __init__(self, store: S3Store, key: str):
        super().__init__()
        self._store, self._key, self._at = store, key, 0
        self._info = store.head(key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size}[whence]
        if start + offset < 0:
            raise OSError(f"cannot seek to {start + offset}")  # as files do; zipfile takes it for "no zip"
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        end = min(self._at + len(buffer), self._info.size)
        if end <= self._at:
            return 0
        data = self._store.read_range(self._key, self._at, end, self._info.etag)
        buffer[: len(data)] = data
        self._at = end
        return len(data)
