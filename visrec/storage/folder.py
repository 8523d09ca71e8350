"""A folder as a Store: an object is a file, its key the path below the root, written with ``/``.

Keys that a folder cannot hold faithfully (``a//b``, ``../x``, ``/x``, ``x/``) are refused with a sentence, so no
key ever leads out of the root. Half-written files carry a reserved name and are never listed.
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from visrec.errors import InputError, NotFoundError, OutsideError
from visrec.storage.base import ObjectInfo
from visrec.storage.parallel import results

PARTIAL = ".visrec-partial-"
THREADS = 8


class FolderStore:
    """Objects in a local folder.

    Parameters
    ----------
    root : folder; must exist unless ``create``
    create : make the folder (at the first write) instead of refusing a missing one
    """

    def __init__(self, root: str | os.PathLike, create: bool = False):
        self.root = Path(root).absolute()
        if not create and not self.root.is_dir():
            raise NotFoundError(f"There is no folder '{root}'. Expected a folder with images and their labels.")
        self.url = str(self.root)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every file whose key starts with ``prefix``, sorted by key; links are followed, loops are not."""
        start = prefix.rpartition("/")[0]
        found = []
        for key, entry in _walk(self.root / _checked(start) if start else self.root, start):
            if key.startswith(prefix):
                found.append((key, entry))
        for key, entry in sorted(found, key=lambda pair: pair[0]):
            try:
                stat = entry.stat()
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ELOOP):  # gone since, a dangling link, or one to itself
                    continue
                raise OutsideError(f"'{key}' in {self.url} could not be read: {error.strerror or error}.") from error
            yield _info(key, stat)

    def read(self, key: str) -> bytes:
        """The bytes of one file."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFoundError(f"There is no '{key}' in {self.url}.") from None
        except OSError as error:
            raise OutsideError(f"'{key}' in {self.url} could not be read: {error.strerror or error}.") from error

    def read_many(
        self, keys: Iterable[str], stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[str, bytes | Exception]]:
        """Read in parallel; a key that fails yields its exception, the others arrive all the same."""
        return results(self.read, keys, threads=THREADS, stop=stop)

    def write(self, key: str, data: bytes) -> None:
        """Write beside the goal, then rename: readers see the old bytes or the new ones, never half."""
        path = self._path(key)
        partial = path.parent / f"{PARTIAL}{uuid.uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OutsideError(f"'{key}' could not be written to {self.url}: {error.strerror or error}.") from error

    def write_fast(self, key: str, data: bytes) -> None:
        """Write without asking the disk to confirm: for many files that can be made again."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f"{PARTIAL}{uuid.uuid4().hex}"
        partial.write_bytes(data)
        os.replace(partial, path)

    def delete(self, key: str) -> None:
        """Remove one file, and the folders that are empty without it (an object store has no empty folders)."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except (IsADirectoryError, PermissionError, NotADirectoryError):
            return
        for parent in path.parents:
            if parent == self.root or not _remove_empty(parent):
                break

    def exists(self, key: str) -> bool:
        """Whether a file of that key is there."""
        return self._path(key).is_file()

    def sub(self, prefix: str) -> "FolderStore":
        """The store of the folder ``prefix`` below this one; it need not exist yet."""
        return FolderStore(self._path(prefix.strip("/")), create=True) if prefix.strip("/") else self

    def local_path(self, key: str) -> Path:
        """The path of the file of that key, whether or not it exists."""
        return self._path(key) if key else self.root

    def _path(self, key: str) -> Path:
        return self.root / _checked(key)


def _checked(key: str) -> str:
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts) or parts[-1].startswith(PARTIAL):
        raise InputError(
            f"'{key}' cannot be a key in a folder; expected names joined by single '/', without '.', '..' or an empty "
            "name, such as 'train/1.jpg'."
        )
    return key


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, stat.st_size, f"{stat.st_size:x}-{stat.st_mtime_ns:x}", stat.st_mtime)


def _walk(folder: Path, key: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[str, os.DirEntry]]:
    """Every file below ``folder`` as (key, entry); ``above`` holds the folders we are in, so that a link loop ends."""
    try:
        here = os.stat(folder)
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutsideError(f"The folder {folder} could not be listed: {error.strerror or error}.") from error
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return
    for entry in entries:
        name = f"{key}/{entry.name}" if key else entry.name
        if _is_folder(entry):
            yield from _walk(Path(entry.path), name, above | {identity})
        elif not entry.name.startswith(PARTIAL):
            yield name, entry


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to what may not be read: `list` asks again, and speaks up
        return False


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
