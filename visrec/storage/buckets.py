"""Buckets: the named places with images that the settings lead to, local folders and S3 alike.

A bucket is named by its bare name, by a path, or as ``s3://bucket/prefix``; one behind a named connection
(`visrec.connections`) as ``s3://NAME@bucket/prefix``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from visrec.config import Settings
from visrec.connections import S3Settings
from visrec.errors import InputError, NotFoundError, OutsideError, nearest
from visrec.storage.base import Store
from visrec.storage.folder import FolderStore
from visrec.storage.parallel import results

S3_SCHEMES = ("s3://", "cos://")
ZIP_FOLDER = ".zip!/"


@dataclass(frozen=True)
class Bucket:
    """A bucket as it is offered: its name, where it lies (no secrets), and ``folder``, ``zip`` or ``s3``."""

    name: str
    url: str
    kind: str


def list_buckets(settings: Settings, on_error: Callable[[OutsideError], None] | None = None) -> list[Bucket]:
    """Every bucket on offer: folders first, then S3; a name met twice is offered by its path the second time.

    Parameters
    ----------
    on_error : is given the error of an S3 store that fails, so that the folders can still be offered;
        without it the error is raised
    """
    found = _local_buckets(settings)
    for _, outcome in _asked(settings.stores):
        if not isinstance(outcome, Exception):
            found += outcome
        elif on_error is not None and isinstance(outcome, OutsideError):
            on_error(outcome)
        else:
            raise outcome
    return _unique(found)


def open_bucket(name_or_url: str, settings: Settings) -> Store:
    """The store of one bucket.

    Raises
    ------
    NotFoundError
        No folder and no S3 bucket of that name; the message names the nearest and all there are.
    """
    name = str(name_or_url)
    if ZIP_FOLDER in name.lower():  # the URL of a store in a zip
        at = name.lower().index(ZIP_FOLDER) + len(".zip")
        return open_bucket(name[:at], settings).at(name[at + 2 :])
    if name.startswith(S3_SCHEMES):
        return open_store(name, settings)
    for folder in settings.buckets:
        if _is_plain(name) and (store := _open_local(folder / name)):
            return store
    if store := _open_local(Path(name)):
        return store
    if settings.s3.configured and _is_plain(name):
        return _open_remote(name, settings)
    raise NotFoundError(f"There is no bucket '{name}'. {_on_offer(name, settings)}")


def open_store(url_or_path: str, settings: Settings, create: bool = False) -> Store:
    """The store at an ``s3://bucket/prefix`` URL or a path; ``create`` lets a folder be made by the first write."""
    url = str(url_or_path)
    if not url.startswith(S3_SCHEMES):
        if "://" in url:
            raise InputError(f"'{url}' is not a place visrec can read; expected a path or s3://bucket/prefix.")
        return FolderStore(url, create=create)
    from visrec.storage.s3 import S3Store

    place, _, prefix = url.split("://", 1)[1].partition("/")
    connection, _, bucket = place.rpartition("@")
    if not bucket:
        raise InputError(f"'{url}' names no bucket; expected s3://bucket or s3://bucket/prefix.")
    s3 = settings.store_named(connection)
    if prefix.lower().endswith(".zip") and not create:
        return _zip_in_bucket(bucket, prefix, s3)
    return S3Store(bucket, prefix, s3)


def _zip_in_bucket(bucket: str, key: str, s3: S3Settings) -> Store:
    """The entries of a zip that lies in a bucket, read by ranges; a folder that is named like one is a folder."""
    from visrec.storage.ranged import open_ranged
    from visrec.storage.s3 import S3Store
    from visrec.storage.zipped import open_zip

    whole = S3Store(bucket, "", s3)
    if not whole.exists(key):
        return S3Store(bucket, key, s3)
    return open_zip(f"{whole.url}/{key}", lambda: open_ranged(whole, key))


def _is_plain(name: str) -> bool:
    return bool(name) and "/" not in name and name not in (".", "..")


def _open_local(path: Path) -> Store | None:
    if path.is_dir():
        return FolderStore(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        from visrec.storage.zipped import open_zip

        return open_zip(path)
    return None


def _local_buckets(settings: Settings) -> list[Bucket]:
    return [
        Bucket(path.name, str(path.absolute()), "folder" if path.is_dir() else "zip")
        for folder in settings.buckets
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if (path.is_dir() or path.suffix.lower() == ".zip") and not path.name.startswith(".")
    ]


def _asked(stores: tuple[S3Settings, ...]) -> list[tuple[S3Settings, list[Bucket] | Exception]]:
    """The buckets of each store, or what went wrong, in order; asked at once, for one that is silent takes long."""
    answers = dict(results(remote_buckets, stores, threads=max(1, len(stores))))
    return [(s3, answers[s3]) for s3 in stores]


def remote_buckets(s3: S3Settings) -> list[Bucket]:
    """The buckets behind one way to remote storage; those of a named connection are named by their URL."""
    from visrec.storage.s3 import S3Store, bucket_names

    urls = {name: S3Store(name, "", s3).url for name in bucket_names(s3)}
    return [Bucket(url if s3.name else name, url, "s3") for name, url in urls.items()]


def _open_remote(name: str, settings: Settings) -> Store:
    from visrec.storage.s3 import S3Store

    store = S3Store(name, "", settings.s3)
    try:
        store.check()
    except NotFoundError as error:
        raise NotFoundError(f"There is no bucket '{name}'. {_on_offer(name, settings)}") from error
    return store


def _on_offer(name: str, settings: Settings) -> str:
    buckets = list_buckets(settings, on_error=lambda error: None)
    where = ", ".join(str(folder) for folder in settings.buckets)
    hint = "" if buckets else f" Looked in {where}; `visrec demo` makes two to try."
    return nearest(name, [bucket.name for bucket in buckets]) + hint


def _unique(buckets: list[Bucket]) -> list[Bucket]:
    seen: set[str] = set()
    unique = []
    for bucket in buckets:
        unique.append(Bucket(bucket.url, bucket.url, bucket.kind) if bucket.name in seen else bucket)
        seen.add(bucket.name)
    return unique
