"""Caches: stored features and converted models, kept to be used again, and kept from filling the disk.

Both can be made anew, so the oldest go first when a folder outgrows its limit. What was used within the last hour stays
whatever the limit: a run may be at it now. Using a file renews its time (`touch`).
"""

import contextlib
import shutil
import time
from pathlib import Path

LIMITS = {"features": 10_000_000_000, "engines": 2_000_000_000}
"""Bytes that each folder of the cache may hold."""
IN_USE_SECONDS = 3600.0
LITTER_SECONDS = 24 * 3600.0
"""After a day what a killed process left half made is litter."""


def touch(path: Path) -> None:
    """Renew the time of a file that is used now, with what belongs to it."""
    for part in _belonging(path):
        with contextlib.suppress(OSError):
            part.touch()


def prune(cache: Path, limits: dict[str, int] | None = None, now: float | None = None) -> int:
    """Remove litter, and the oldest files of each folder until it is below its limit.

    Returns
    -------
    int
        Bytes freed.
    """
    now = time.time() if now is None else now
    return sum(_prune_folder(cache / name, limit, now) for name, limit in (limits or LIMITS).items())


def _prune_folder(folder: Path, limit: int, now: float) -> int:
    if not folder.is_dir():
        return 0
    freed = _sweep(folder, now)
    groups = {}
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".partial":
            groups.setdefault(_name(path), []).append(path)
    facts = [(max(_used(p) for p in parts), sum(_size(p) for p in parts), parts) for parts in groups.values()]
    held = sum(size for _, size, _ in facts)
    for used, size, parts in sorted(facts, key=lambda fact: fact[0]):
        if held <= limit or now - used < IN_USE_SECONDS:
            break
        for path in parts:
            path.unlink(missing_ok=True)
        held, freed = held - size, freed + size
    return freed


def _sweep(folder: Path, now: float) -> int:
    """Remove what killed processes left half made."""
    freed = 0
    for path in folder.iterdir():
        if not (path.name.startswith(".") or path.suffix == ".partial") or now - _used(path) < LITTER_SECONDS:
            continue
        if path.is_dir():
            freed += sum(_size(p) for p in path.rglob("*"))
            shutil.rmtree(path, ignore_errors=True)
        else:
            freed += _size(path)
            path.unlink(missing_ok=True)
    return freed


def _belonging(path: Path) -> list[Path]:
    return [p for p in path.parent.glob(f"{_name(path)}.*") if p.is_file()]


def _name(path: Path) -> str:
    """What the files of one entry share: an OpenVINO model is an ``.xml`` and a ``.bin``."""
    return path.name.removesuffix(path.suffix)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")  # it went away meanwhile


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
