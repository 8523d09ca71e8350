"""Uploading: the files of a folder become a remote bucket, which says of itself that it is not whole until it is.

A bucket cannot be renamed into place as a folder can. So a marker is written first and deleted last, and whoever reads
a bucket with a marker in it is told to finish the work. A later try sends only what is not there yet.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from visrec.errors import InputError, RunError
from visrec.storage.base import ObjectInfo, Store
from visrec.storage.parallel import results

MARKER = ".visrec-incomplete"
THREADS = 16


def check_whole(objects: Mapping[str, ObjectInfo], url: str) -> None:
    """Raise ``InputError`` for the listing of a bucket that is still being filled, or whose filling was broken off."""
    marker = next((key for key in objects if key == MARKER or key.endswith(f"/{MARKER}")), None)
    if marker:
        place = f"{url}/{marker}".removesuffix(f"/{MARKER}")
        raise InputError(
            f"{place} is not whole: a `visrec fetch` fills it now or was broken off. Run that command again to finish, "
            f"or delete the object {marker} to take what is there."
        )


def check_fillable(store: Store) -> dict[str, ObjectInfo]:
    """What an upload that broke off has left; raises ``InputError`` if there is anything else in a store.

    The empty object that stands for a folder in a web console is nothing.
    """
    have = {info.key: info for info in store.list() if info.key and not info.key.endswith("/")}
    if have and MARKER not in have:
        raise InputError(
            f"There are {len(have):,} objects in {store.url} already. Name a prefix that is empty, such as "
            f"{store.url}/faces, or remove them first."
        )
    return have


def upload(
    folder: Path,
    store: Store,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Put every file of a folder into a store, each at its relative path.

    Parameters
    ----------
    progress : called with (bytes that are there, bytes in all)
    stop : True ends the work; what was sent stays for the next try

    Raises
    ------
    InputError
        There is something else in the store.
    AccessError, OutsideError
        It cannot be written to, after retries.
    RunError
        When told to stop.
    """
    have = check_fillable(store)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    sizes = {key: path.stat().st_size for key, path in files.items()}
    if strange := sorted(have.keys() - files.keys() - {MARKER}):
        raise InputError(
            f"There are other objects in {store.url}, such as '{strange[0]}'. Name a prefix that is empty."
        )
    store.write(MARKER, b"visrec fetch fills this bucket; it is whole when this object is gone.\n")
    done, total = 0, sum(sizes.values())

    def send(key: str) -> None:
        data = files[key].read_bytes()
        if key not in have or have[key].size != len(data) or have[key].etag != hashlib.md5(data).hexdigest():
            store.write(key, data)

    for key, failed in results(send, files, threads=THREADS, stop=stop, wait=True):
        if failed is not None:
            raise failed
        done += sizes[key]
        if progress:
            progress(done, total)
    if stop and stop():
        raise RunError("Fetching was stopped; what was sent is kept for the next try.")
    store.delete(MARKER)
