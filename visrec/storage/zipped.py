"""A zip file as a Store that is only read: a bucket that travels in one piece.

Names that would lead out of a folder, encrypted entries and entries that claim to unpack a thousandfold are refused;
each read is verified by the checksum the zip holds.
"""

import io
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from visrec.errors import InputError, NotFoundError, OutsideError, VisrecError
from visrec.storage.base import ObjectInfo
from visrec.storage.parallel import results
from visrec.storage.unpack import DAMAGES, entry_name

LARGEST = 2_000_000_000  # bytes of one entry
RATIO = 1000  # unpacked over packed, above which an entry is a bomb
THREADS = 4
INSIDE = "!/"  # between the URL of a zip and a folder in it


class ZipStore:
    """The entries of a zip file, or of those below ``prefix`` in it.

    Parameters
    ----------
    path : of a local file, or where it lies in words (a URL) if it is opened by ``opener``
    prefix : a folder in it
    opener : gives a new binary file to read the zip from, for each thread that reads
    """

    def __init__(self, path: Path | str, prefix: str = "", opener: Callable[[], BinaryIO] | None = None):
        self.path, self._opener = path if opener else Path(path), opener
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        place = str(path) if opener else str(self.path.absolute())
        self.url = place + (f"{INSIDE}{self.prefix.rstrip('/')}" if self.prefix else "")
        self._local = threading.local()
        named = ((entry_name(info), info) for info in self._zip.infolist())
        self._infos = {name: info for name, info in named if not name.endswith("/") and _safe(name)}

    @property
    def _zip(self) -> zipfile.ZipFile:
        """One handle per thread: a ZipFile shares its file position."""
        if not hasattr(self._local, "zip"):
            try:
                self._local.zip = zipfile.ZipFile(self._opener() if self._opener else self.path)
            except VisrecError:  # of the store that holds it
                raise
            except FileNotFoundError:
                raise NotFoundError(f"There is no zip file '{self.path}'.") from None
            except (zipfile.BadZipFile, OSError) as error:
                raise InputError(f"'{self.path}' is not a whole zip file ({error}); get it again.") from error
        return self._local.zip

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every entry whose key starts with ``prefix``, sorted."""
        for name in sorted(self._infos):
            if name.startswith(self.prefix + prefix):
                info = self._infos[name]
                key = name.removeprefix(self.prefix)
                yield ObjectInfo(key, info.file_size, f"{info.CRC:08x}-{info.file_size:x}")

    def read(self, key: str) -> bytes:
        """Unpack one entry."""
        info = self._infos.get(self.prefix + key)
        if info is None:
            raise NotFoundError(f"There is no '{key}' in {self.url}.")
        if info.file_size > LARGEST or (info.file_size > 1_000_000 and info.file_size > RATIO * info.compress_size):
            raise InputError(f"'{key}' in {self.url} claims {info.file_size:,} bytes; too large to be unpacked safely.")
        try:
            with self._zip.open(info) as entry:
                data = io.BytesIO(entry.read(info.file_size + 1)).getvalue()
        except VisrecError:
            raise
        except (*DAMAGES, OSError) as error:
            raise OutsideError(f"'{key}' in {self.url} is damaged ({error}).") from error
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or a method that Python cannot unpack
            raise InputError(f"'{key}' in {self.url} cannot be unpacked ({error}).") from error
        return data

    def read_many(
        self, keys: Iterable[str], stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[str, bytes | Exception]]:
        """Unpack in parallel; an entry that fails yields its exception."""
        return results(self.read, keys, threads=THREADS, stop=stop)

    def write(self, key: str, data: bytes) -> None:
        """Refused: visrec never changes a zip."""
        raise InputError(f"{self.url} is a zip file, which is only read; unpack it into a folder to write to it.")

    def delete(self, key: str) -> None:
        """Refused, as `write`."""
        self.write(key, b"")

    def exists(self, key: str) -> bool:
        """Whether there is such an entry."""
        return self.prefix + key in self._infos

    def sub(self, prefix: str) -> "ZipStore":
        """The entries below ``prefix``."""
        return ZipStore(self.path, self.prefix + prefix.strip("/"), self._opener) if prefix.strip("/") else self

    def at(self, folder: str) -> "ZipStore":
        """The entries below a folder of the whole zip, wherever in it this store is."""
        return ZipStore(self.path, folder, self._opener)

    def local_path(self, key: str) -> None:
        """None: an entry has no path of its own."""


def open_zip(path: Path | str, opener: Callable[[], BinaryIO] | None = None) -> ZipStore:
    """The store of a zip file; a single folder that holds everything is gone into, as when unpacking by hand."""
    store = ZipStore(path, opener=opener)
    keys = [info.key for info in store.list() if not info.key.startswith("__MACOSX/")]
    tops = {key.partition("/")[0] for key in keys}
    return store.sub(tops.pop()) if len(tops) == 1 and all("/" in key for key in keys) else store


def _safe(name: str) -> bool:
    """Whether a name with ``/`` stays inside: not from the root, not upwards, not on a drive of Windows."""
    parts = name.split("/")
    return not name.startswith("/") and ".." not in parts and not parts[0].endswith(":")
