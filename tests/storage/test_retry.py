"""Tests for visrec.storage.retry, with the clock and the dice handed in."""

import pytest

from visrec.errors import RunError
from visrec.storage.retry import Transient, persist


def flaky(times, result="done"):
    def work(number):
        if number < times:
            raise Transient(OSError(f"failure {number}"))
        return result

    return work


def test_passing_failures_are_outlasted():
    """Nine failures, then success."""
    assert "done" == persist(flaky(9), sleep=lambda _: None)


def test_the_last_failure_is_told():
    """After ten tries the reason given is that of the last."""
    with pytest.raises(Transient, match="failure 9"):
        persist(flaky(10), sleep=lambda _: None)


def test_waits_grow_to_a_cap():
    """Exponential from a quarter second to fifteen, scaled by the draw."""
    waits = []
    persist(flaky(9), sleep=waits.append, draw=lambda: 1.0)

    assert [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15] == waits


def test_other_errors_are_raised_at_once():
    """A wrong key does not get better by asking again."""
    calls = []

    def refuse(number):
        calls.append(number)
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        persist(refuse, sleep=lambda _: None)
    assert [0] == calls


def test_time_limits_the_tries():
    """A store that never answered is given up after its seconds."""
    times = iter([0.0, 5.0, 11.0])

    with pytest.raises(Transient, match="failure 1"):
        persist(flaky(9), seconds=10, sleep=lambda _: None, clock=lambda: next(times))


def test_waiting_can_be_cancelled():
    """Cancel is heard between tries."""
    with pytest.raises(RunError, match="Cancelled"):
        persist(flaky(9), sleep=lambda _: None, stop=lambda: True)
