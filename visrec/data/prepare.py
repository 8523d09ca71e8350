"""A prepared data set is the pixels of a bucket, decoded and resized once: one memory map and one table of facts.

It lies in ``prepared/<fingerprint>/`` and is reused while the names, the ETags, the size and the fit stay what they
were. Rows already decoded for an earlier data set of the same size and fit are copied, so changing one object reads one
object. It is made in a folder of its own and renamed when whole: whoever sees a data set sees all of it. A process that
was killed leaves its part behind; the next one goes on from there.
"""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from visrec.data.images import FITS, BadImage, load, read_header, to_square
from visrec.data.journal import FACTS, Journal
from visrec.data.processors import processors
from visrec.data.unread import UNREAD, status_of
from visrec.errors import InputError, OutsideError, RunError, VisrecError
from visrec.storage.base import ObjectInfo, Store
from visrec.storage.lock import file_lock
from visrec.storage.parallel import results

VERSION = 3  # of the decoder: raise it when the same bytes give other pixels
SPARE_BYTES = 200_000_000
BUNCH = 16
STALE_SECONDS = 3 * 24 * 3600
Progress = Callable[[int, int], None]
Stop = Callable[[], bool]
Item = TypeVar("Item")


class NoRoomError(OutsideError):
    """The disk has too little space for a data set; nothing was begun."""


@dataclass(frozen=True)
class Prepared:
    """Pixels and the samples they belong to.

    Attributes
    ----------
    folder : where the data set lies
    images : uint8 memory map (n, size, size, 3), read-only
    samples : the sample table with sha256, width, height, status (``ok`` or the problem's kind) and row
        (index into ``images``; -1 where the image could not be decoded)
    fingerprint : of the objects' names and ETags, the size and the fit
    seconds : how long making it took; about 0 when it was reused
    """

    folder: Path
    images: np.ndarray
    samples: pd.DataFrame
    fingerprint: str
    seconds: float = 0.0

    @property
    def bad(self) -> pd.DataFrame:
        """The samples that were set aside."""
        return self.samples[self.samples["status"] != "ok"]


def prepare(
    store: Store,
    samples: pd.DataFrame,
    size: int,
    cache_dir: Path,
    *,
    fit: str = "stretch",
    objects: dict[str, ObjectInfo] | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    threads: int | None = None,
) -> Prepared:
    """Decode the images of a sample table, or find them decoded.

    Parameters
    ----------
    store : the bucket
    samples : table with ``file``; the other columns travel along
    size : side of the square images in pixels
    cache_dir : the cache; the data set goes to ``cache_dir/prepared/<fingerprint>``
    fit : ``stretch``, ``crop`` or ``pad``
    objects : a listing of the bucket, if one is at hand
    progress : called with (done, total)
    stop : asked now and then; True ends the work, what is done so far is kept for the next time
    threads : that decode at once; default one per processor

    Raises
    ------
    OutsideError
        Too little space on the disk, or the store failed for more than single images.
    RunError
        ``stop`` said so ("cancelled").
    """
    _check(size, fit)
    started = time.monotonic()
    files = sorted(set(samples["file"]))
    tags = _tags(store, files, objects)
    key = fingerprint(tags, size, fit)
    root = Path(cache_dir) / "prepared"
    folder = root / key
    if not _reusable(folder, store):
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root / f".{key}.lock", stop, "prepares the same images"):
            if not _reusable(folder, store):  # another process may have made it while we waited
                recipe = {"store": store.url, "size": size, "fit": fit, "version": VERSION, "images": len(files)}
                _make(store, tags, folder, recipe, progress, stop, threads)
        _remove_stale(root)
    elif progress:
        progress(len(files), len(files))
    return _opened(folder, samples, key, time.monotonic() - started)


def fingerprint(tags: dict[str, str], size: int, fit: str = "stretch") -> str:
    """Twenty hex digits that change when an object, the size or the fit does."""
    digest = hashlib.sha256(f"{VERSION} {size} {fit}\n".encode())
    for key in sorted(tags):
        digest.update(f"{key}\0{tags[key]}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:20]


def needed_bytes(count: int, size: int) -> int:
    """Size on disk of a data set: 3 bytes a pixel.

    >>> f"{needed_bytes(97_698, 224) / 1e9:.1f} GB"  # all of FairFace
    '14.7 GB'
    """
    return count * size * size * 3


def _check(size: int, fit: str) -> None:
    if not 8 <= size <= 2048:
        raise InputError(f"The image size is {size}; expected 8 to 2048 pixels.")
    if fit not in FITS:
        raise InputError(f"fit is '{fit}'; expected one of {', '.join(FITS)}.")


def _tags(store: Store, files: list[str], objects: dict[str, ObjectInfo] | None) -> dict[str, str]:
    if objects is None:
        objects = {info.key: info for info in store.list()}
    return {file: objects[file].etag if file in objects else "missing" for file in files}


def _make(store, tags, folder: Path, recipe: dict, progress, stop, threads) -> None:
    """Build the data set in a partial folder, going on where an earlier process stopped, then rename it."""
    files = list(tags)
    partial = folder.parent / f".partial-{folder.name}"
    _check_space(folder.parent, partial, needed_bytes(len(files), recipe["size"]))
    try:
        partial.mkdir(exist_ok=True)
        with Journal(partial, files, recipe["size"]) as journal:
            _copy_known(journal, folder.parent, tags, recipe)
            _decode_rest(journal, store, tags, recipe, progress, stop, threads)
            facts = journal.finish()
        facts.to_parquet(partial / "samples.parquet", index=False)
        unread = list(facts["file"][facts["status"] == UNREAD])
        recipe = {**recipe, "fingerprint": folder.name, "bad": int((facts["status"] != "ok").sum()), "unread": unread}
        (partial / "recipe.json").write_text(json.dumps(recipe, indent=1))
        (partial / FACTS).unlink()
        _put_in_place(partial, folder)
    except OutsideError:
        raise
    except OSError as error:
        raise OutsideError(f"The prepared data set could not be written to {partial}: {error}.") from error


def _reusable(folder: Path, store: Store) -> bool:
    """Whether the data set is there, and no image that the store failed to give can be had by now."""
    try:
        unread = json.loads((folder / "recipe.json").read_text())["unread"]
    except (OSError, ValueError, KeyError):
        return False
    return not any(isinstance(data, bytes) for _, data in store.read_many(unread))


def _put_in_place(partial: Path, folder: Path) -> None:
    old = folder.parent / f".partial-{folder.name}-old"
    if folder.exists():  # it lacked images that the store gives now
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _decode_rest(journal, store, tags, recipe, progress, stop, threads) -> None:
    total = len(tags)
    left = journal.left()
    done = total - len(left)
    if progress:
        progress(done, total)
    failures: list[OutsideError] = []
    work = _decoder(journal, store, recipe["size"], recipe["fit"], failures)
    # several images a job: handing one over costs as much as decoding a small one
    reads = _bunched(_reads(store, left, stop), BUNCH)
    decoded = results(work, reads, threads=threads or processors(), stop=stop, wait=True)
    with contextlib.closing(decoded):  # no thread writes pixels once the journal is closed
        for _, outcome in decoded:
            if isinstance(outcome, Exception):
                raise outcome
            if len(failures) > 20 and len(failures) > done // 10:  # the store fails, not an object here and there
                raise failures[-1]
            for file, check, facts in outcome:
                journal.note(file, tags[file], facts, check)
                done += 1
                if progress:
                    progress(done, total)
    if stop and stop():
        raise RunError("Preparing the images was cancelled; what is done is kept for the next time.")


def _reads(store: Store, files: list[str], stop) -> Iterator[tuple[str, bytes | Exception | None]]:
    """The bytes of each file; None where they lie on this machine, so that whoever decodes them may read them too."""
    if files and store.local_path(files[0]) is not None:
        return ((file, None) for file in files)
    return store.read_many(files, stop)


def _bunched(items: Iterator[Item], count: int) -> Iterator[list[Item]]:
    while bunch := list(islice(items, count)):
        yield bunch


def _decoder(journal: Journal, store: Store, size: int, fit: str, failures: list[OutsideError]):
    """A function, for any thread, from images as read to (file, checksum of the pixels put in place or None, facts).

    Errors of the store itself are added to ``failures``.
    """

    def read(file: str) -> bytes | Exception:
        try:
            return store.read(file)
        except VisrecError as error:
            return error

    def one(file: str, data: bytes | Exception | None) -> tuple[str, int | None, dict]:
        data = read(file) if data is None else data
        if isinstance(data, OutsideError):
            failures.append(data)
        if isinstance(data, Exception):
            return file, None, _facts(None, 0, 0, status_of(data))
        sha = hashlib.sha256(data).hexdigest()
        width = height = 0
        try:
            image = read_header(data)
            width, height = image.size
            pixels = np.asarray(to_square(load(image, size), size, fit), dtype=np.uint8)
        except BadImage as error:
            return file, None, _facts(sha, width, height, error.kind)
        except Exception:  # a decoder that breaks on one image must not end the work on all the others
            return file, None, _facts(sha, width, height, "unreadable")
        return file, journal.put(file, pixels), _facts(sha, width, height, "ok")

    return lambda items: [one(file, data) for file, data in items]


def _facts(sha256: str | None, width: int, height: int, status: str) -> dict:
    return {"sha256": sha256, "width": width, "height": height, "status": status}


def _copy_known(journal: Journal, root: Path, tags: dict[str, str], recipe: dict) -> None:
    """Copy rows that another data set of the same store, size and fit already holds for the same bytes."""
    for folder in sorted(root.glob("[0-9a-f]*"), key=lambda p: p.stat().st_mtime, reverse=True):
        left = set(journal.left())
        if not left:
            return
        try:
            other = json.loads((folder / "recipe.json").read_text())
            if any(other.get(k) != recipe[k] for k in ("store", "size", "fit", "version")):
                continue
            facts = pd.read_parquet(folder / "samples.parquet")
            images = np.load(folder / "images.npy", mmap_mode="r")
        except (OSError, ValueError):  # being deleted, or not one of ours
            continue
        same = facts[facts["file"].isin(left) & (facts["status"] == "ok")]
        for fact in same.to_dict("records"):
            if fact["etag"] == tags[fact["file"]]:
                check = journal.put(fact["file"], images[fact["row"]])
                journal.note(fact["file"], fact["etag"], _facts_of(fact), check)


def _facts_of(fact: dict) -> dict:
    return _facts(fact["sha256"], fact["width"], fact["height"], fact["status"])


def _opened(folder: Path, samples: pd.DataFrame, key: str, seconds: float) -> Prepared:
    facts = pd.read_parquet(folder / "samples.parquet").drop(columns="etag")
    known = samples.drop(columns=[c for c in facts.columns if c != "file"], errors="ignore")
    joined = known.merge(facts, on="file", how="left", validate="many_to_one")
    first = ["file", "label", "split", "sha256", "width", "height", "status", "row"]
    first = [c for c in first if c in joined]
    joined = joined[first + [c for c in joined if c not in first]]
    return Prepared(folder, np.load(folder / "images.npy", mmap_mode="r"), joined, key, seconds)


def _check_space(root: Path, partial: Path, needed: int) -> None:
    have = partial / "images.npy"
    already = have.stat().st_blocks * 512 if have.is_file() else 0
    free = shutil.disk_usage(root).free
    if needed - already + SPARE_BYTES > free:
        raise NoRoomError(
            f"Preparing needs {needed / 1e9:.1f} GB in {root}, and {free / 1e9:.1f} GB are free. Free some space, "
            "point VISREC_CACHE to a larger disk, or choose a smaller image size or a limit."
        )


def _remove_stale(root: Path) -> None:
    """Partial data sets that nobody has gone on with for days."""
    for partial in root.glob(".partial-*"):
        try:
            old = time.time() - max(p.stat().st_mtime for p in [partial, *partial.iterdir()]) > STALE_SECONDS
        except OSError:
            continue
        if old:
            shutil.rmtree(partial, ignore_errors=True)
