"""Fetching: files from public links become a bucket, which appears whole or not at all.

The downloads lie in the cache, where a later try goes on with them; the bucket is built in a hidden folder beside its
goal and renamed, or built in the cache and uploaded (`visrec.storage.upload`). What is built from the files is the
caller's affair: by default the one archive is unpacked.
"""

import hashlib
import os
import shutil
import urllib.parse
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from visrec.config import Settings
from visrec.errors import InputError, OutsideError, RunError
from visrec.storage.base import Store
from visrec.storage.buckets import S3_SCHEMES, open_store
from visrec.storage.download import Progress, Stop, check_link, download
from visrec.storage.lock import file_lock
from visrec.storage.unpack import Limits, unpack
from visrec.storage.upload import check_fillable, upload

Build = Callable[[Sequence[Path], Path], None]
BUILDING = ".visrec-fetch-"


def fetch(
    links: Sequence[str],
    bucket: str,
    settings: Settings,
    *,
    build: Build | None = None,
    check: Callable[[Path], object] | None = None,
    sha256: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
    stop: Stop | None = None,
    limits: Limits | None = None,
    **patience,
) -> Path | str:
    """Make a bucket of what lies at public links.

    Parameters
    ----------
    links : of the files, http or https
    bucket : name of the new bucket, below the first of ``settings.buckets``; or a path; or ``s3://bucket/prefix``,
        where the bucket exists and the prefix is empty
    build : ``build(files, folder)`` fills the empty folder; default: unpack the one archive
    check : called with the folder when it is built; what it raises, the bucket never appears
    sha256 : checksum of the file, if there is one link
    progress : called with (what is going on, done, in all)
    note : called with a sentence when the bucket holds less than the archive did
    stop : True ends the work
    limits : of unpacking
    patience : options of `visrec.storage.download.download`

    Returns
    -------
    Path or str
        The new bucket's folder, or its URL.

    Raises
    ------
    InputError
        The bucket exists already, the link or its file is not what was expected.
    OutsideError, AccessError
        The link cannot be read, after retries, or the disk is full.
    """
    for link in links:
        check_link(link)
    if sha256 and len(links) != 1:
        raise InputError("A checksum can be given for a single file only.")
    work = settings.cache / "fetch" / hashlib.sha256("\n".join(links).encode()).hexdigest()[:20]
    remote = _remote(bucket, settings)
    goal = work / bucket.rstrip("/").rpartition("/")[2] if remote else _goal(bucket, settings)
    building = goal.parent / f"{BUILDING}{goal.name}-{uuid.uuid4().hex[:8]}"
    try:
        work.parent.mkdir(parents=True, exist_ok=True)
        # beside the folder: whoever is done removes the folder, and others may wait for the lock
        with file_lock(work.with_name(f".{work.name}.lock"), stop, "fetches the same link"):
            work.mkdir(exist_ok=True)
            goal.parent.mkdir(parents=True, exist_ok=True)
            if not remote:
                _check_free(goal)  # another process may have made it while we waited
            told = _told(progress)
            files = [
                download(link, work / _name(link, n), sha256=sha256, progress=told("Fetching"), stop=stop, **patience)
                for n, link in enumerate(links)
            ]
            building.mkdir()
            try:
                if build:
                    build(files, building)
                else:
                    left_out = _unpacked(files[0], building, limits, told("Unpacking"), stop)
                    if left_out and note:
                        note(f"{left_out:,} entries of the archive (links, devices or encrypted files) were left out.")
                if check:
                    check(building)
            except InputError:
                shutil.rmtree(work, ignore_errors=True)  # the next try shall not meet the same damaged files
                raise
            if remote:
                upload(building, remote, progress=told("Uploading"), stop=stop)
            else:
                _put_in_place(building, goal)
            shutil.rmtree(work, ignore_errors=True)
    except (InputError, RunError, OutsideError):
        raise
    except OSError as error:
        raise OutsideError(f"'{goal.name}' could not be made in {goal.parent}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return remote.url if remote else goal


def _remote(bucket: str, settings: Settings) -> Store | None:
    """The store to be filled if it is not a folder, checked before anything is downloaded."""
    if not bucket.startswith(S3_SCHEMES):
        return None
    store = open_store(bucket, settings, create=True)
    check_fillable(store)
    return store


def _goal(bucket: str, settings: Settings) -> Path:
    plain = "/" not in bucket and bucket not in ("", ".", "..")
    goal = (settings.buckets[0] / bucket if plain else Path(bucket)).absolute()
    if bucket in ("", ".", "..") or goal.name.startswith("."):
        raise InputError(f"'{bucket}' cannot name a bucket; expected a name such as 'my-bucket', or a path.")
    _check_free(goal)
    return goal


def _check_free(goal: Path) -> None:
    if goal.exists() and not (goal.is_dir() and not any(goal.iterdir())):
        raise InputError(f"There is a '{goal.name}' in {goal.parent} already. Choose another name, or remove it first.")


def _name(link: str, number: int) -> str:
    """A file name that a person recognises and the system accepts."""
    last = urllib.parse.unquote(urllib.parse.urlsplit(link).path).rpartition("/")[2]
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in last)[-80:]
    return f"{number:03}-{plain}"


def _told(progress: Callable[[str, int, int], None] | None):
    """Turn ``progress`` into what each stage calls."""

    def stage(what: str) -> Progress | None:
        return (lambda done, total: progress(what, done, total)) if progress else None

    return stage


def _unpacked(archive: Path, folder: Path, limits, progress, stop) -> int:
    """Fill the folder; how many entries were left out."""
    meter = unpack(archive, folder, limits=limits, progress=progress, stop=stop)
    _step_in(folder)
    if not any(folder.iterdir()):
        also = f" but {meter.left_out:,} that cannot be unpacked (links, devices or encrypted)" * bool(meter.left_out)
        raise InputError(f"The archive holds no file{also}. Expected an archive with images and their labels.")
    return meter.left_out


def _step_in(folder: Path) -> None:
    """Lift the content of a single folder that holds everything, as when unpacking by hand."""
    inside = list(folder.iterdir())
    if len(inside) != 1 or not inside[0].is_dir():
        return
    lifted = folder / f"{BUILDING}{uuid.uuid4().hex[:8]}"
    inside[0].rename(lifted)
    for path in list(lifted.iterdir()):
        path.rename(folder / path.name)
    lifted.rmdir()


def _put_in_place(building: Path, goal: Path) -> None:
    os.sync()  # after a power cut there must be no bucket of empty files
    _check_free(goal)
    building.rename(goal)  # over an empty folder, too
