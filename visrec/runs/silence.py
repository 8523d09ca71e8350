"""Silence: for how long the process of a run on another machine has given no sign of life.

The heartbeat holds the time by that machine's clock, and two clocks may be further apart than the silence that counts
as lost. So the time at which the store took the status decides, and, where this process looks more than once, whether
the heartbeat moved between two looks, which needs no clock but one's own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visrec.errors import VisrecError
from visrec.runs.status import LOST_AFTER_SECONDS, Status

if TYPE_CHECKING:
    from visrec.storage.base import Store

MOST_SKEW_SECONDS = 24 * 3600.0
"""Clocks are not a day apart: a file so much younger than its heartbeat was copied or brought back from a backup."""
AHEAD_SECONDS = 2.0
"""A heartbeat further than this in the future is another clock's."""


@dataclass
class Look:
    """What this process saw of a run's heartbeat, by its own clock.

    Attributes
    ----------
    heartbeat : the one seen last
    first, last : when it was seen first and last
    before : when the one before it was seen last; -inf = none was
    """

    heartbeat: float
    first: float
    last: float
    before: float


_looks: dict[str, Look] = {}


def seconds(store: "Store", status: Status, now: float, clock: Callable[[], float] = time.monotonic) -> float:
    """Seconds since the last sign of life, as well as can be told from here.

    Parameters
    ----------
    store : of the run; its ``status.json`` holds ``status``
    now : epoch seconds by this machine's clock
    clock : seconds that only ever grow
    """
    silent = now - status.heartbeat
    if not -AHEAD_SECONDS <= silent <= LOST_AFTER_SECONDS:
        silent = now - _written(store, status)
    look = _looked(store.url, status.heartbeat, clock())
    return max(min(silent, look.last - look.before), look.last - look.first)


def _looked(url: str, heartbeat: float, at: float) -> Look:
    """Note a look; a heartbeat that moved on was given after the look before."""
    known = _looks.get(url)
    if known is None or known.heartbeat != heartbeat:
        moved = known is not None and known.heartbeat < heartbeat
        known = Look(heartbeat, at, at, known.last if moved else float("-inf"))
    known.last = at
    _looks[url] = known
    return known


def _written(store: "Store", status: Status) -> float:
    """When the store took the status, by its own clock; the heartbeat where it does not say."""
    try:
        path = store.local_path("status.json")
        if path is not None:
            modified = path.stat().st_mtime
        else:
            modified = next(info.modified for info in store.list("status.json") if info.key == "status.json")
    except (VisrecError, OSError, StopIteration):
        return status.heartbeat
    return modified if abs(modified - status.heartbeat) <= MOST_SKEW_SECONDS else status.heartbeat
