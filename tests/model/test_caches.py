"""The caches: the oldest go first, never what is in use, and a model never loses one half."""

import os

import pytest

from visrec.model.caches import IN_USE_SECONDS, LITTER_SECONDS, prune, touch

NOW = 1_000_000.0
LIMITS = {"features": 250, "engines": 250}


@pytest.fixture
def keep(tmp_path):
    """Write a file of so many bytes, last used so many seconds ago."""

    def made(name: str, size: int, ago: float):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (NOW - ago, NOW - ago))
        return path

    return made


def test_the_oldest_go_first_until_the_limit_is_kept(keep, tmp_path):
    """What was used last is what will be used next."""
    old, older, new = (keep(f"features/{n}.npy", 100, ago) for n, ago in (("b", 8000), ("a", 9000), ("c", 7000)))

    assert 100 == prune(tmp_path, LIMITS, NOW)
    assert [False, True, True] == [older.exists(), old.exists(), new.exists()]


def test_what_a_run_uses_now_stays_whatever_the_limit(keep, tmp_path):
    """Better a full disk with a sentence than a training that loses its features."""
    used = keep("features/a.npy", 1000, IN_USE_SECONDS - 1)

    assert 0 == prune(tmp_path, LIMITS, NOW)
    assert used.exists()


def test_both_halves_of_a_converted_model_live_and_die_together(keep, tmp_path):
    """Version numbers have dots, and an .xml without its .bin is worse than none."""
    for ending, size, ago in (("xml", 10, 9000), ("bin", 200, 9000)):
        keep(f"engines/abc-2026.4.1.{ending}", size, ago)
    kept = [keep(f"engines/def-2026.4.1.{ending}", 100, ago) for ending, ago in (("xml", 8000), ("bin", 9500))]

    assert 210 == prune(tmp_path, LIMITS, NOW)
    assert sorted(kept) == sorted((tmp_path / "engines").iterdir())


def test_using_a_model_renews_both_halves(keep, tmp_path):
    """Else the half that is read only once would look old."""
    halves = [keep(f"engines/abc-2026.4.1.{ending}", 1, 9000) for ending in ("xml", "bin")]
    touch(halves[0])

    assert all(path.stat().st_mtime > NOW for path in halves)


def test_litter_of_killed_processes_goes_after_a_day(keep, tmp_path):
    """And not before: it may be in the making."""
    fresh = keep("features/a.npy.partial", 5, LITTER_SECONDS - 10)
    litter = keep("features/b.npy.partial", 7, LITTER_SECONDS + 10)

    assert 7 == prune(tmp_path, LIMITS, NOW)
    assert [True, False] == [fresh.exists(), litter.exists()]


def test_a_cache_that_is_not_there_needs_no_pruning(tmp_path):
    """The first run of all."""
    assert 0 == prune(tmp_path / "nowhere", LIMITS, NOW)
