"""Trying again: one loop around a whole piece of work (get, read and verify), as no client of the field has it.

Waits grow exponentially with full jitter, so that many readers that fail together do not return together.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from visrec.errors import RunError

Result = TypeVar("Result")
TRIES = 10
BASE_SECONDS = 0.25
CAP_SECONDS = 15.0


class Transient(Exception):
    """A failure that may be gone the next time; ``cause`` is what happened."""

    def __init__(self, cause: Exception):
        super().__init__(str(cause))
        self.cause = cause


def persist(
    work: Callable[[int], Result],
    *,
    tries: int = TRIES,
    seconds: float = float("inf"),
    stop: Callable[[], bool] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    draw: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Call ``work(number of the try)`` until it gives a result instead of raising `Transient`.

    Parameters
    ----------
    tries : how often at most
    seconds : no new try is begun after that long
    stop : asked between tries; True ends the waiting
    sleep, draw, clock : the world outside, for tests

    Raises
    ------
    Transient
        The last one, when all tries are used up.
    Anything else that ``work`` raises, at once.
    """
    started = clock()
    for number in range(tries):
        try:
            return work(number)
        except Transient as error:
            if number + 1 == tries or clock() - started > seconds:
                raise
            if stop and stop():
                raise RunError("Cancelled while waiting for the store.") from error
            sleep(draw() * min(CAP_SECONDS, BASE_SECONDS * 2**number))
    raise ValueError(f"tries is {tries}; expected at least 1.")
