"""The table of features: made once however many ask for it at once, and never on a disk that cannot hold it."""

import errno
import os
import threading
import time
from collections import namedtuple

import numpy as np
import pytest

from visrec.errors import OutsideError
from visrec.model import features

IMAGES = np.arange(40 * 4 * 4 * 3, dtype=np.uint8).reshape(40, 4, 4, 3)
ROWS = np.arange(40)


class Means:
    """An engine whose features are means; it counts its calls and takes its time."""

    width = 3

    def __init__(self, seconds: float = 0.0):
        self.calls, self._seconds = 0, seconds

    def __call__(self, images, *, out, progress=None):
        self.calls += 1
        for row in range(len(images)):
            out[row] = images[slice(row, row + 1)].mean(axis=(0, 1, 2))
            time.sleep(self._seconds)


def test_two_runs_at_once_make_one_whole_table(tmp_path):
    """With VISREC_SLOTS=2 both may want the same table: the second waits, and takes what the first one made."""
    engine, path, found, faults = Means(0.01), tmp_path / "features" / "key.npy", [], []

    def work():
        try:
            found.append(features.compute(engine, IMAGES, ROWS, path))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ([], 1) == (faults, engine.calls)
    for table in found:
        np.testing.assert_allclose(IMAGES.mean(axis=(1, 2)), table, rtol=1e-6)


def test_a_disk_without_room_is_a_sentence_before_anything_is_mapped(tmp_path, monkeypatch):
    """Writing to a map that the disk cannot hold would kill the process without a word."""
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1_000))
    engine = Means()

    with pytest.raises(OutsideError, match="VISREC_CACHE"):
        features.compute(engine, IMAGES, ROWS, tmp_path / "key.npy")
    assert not engine.calls


def test_blocks_are_promised_before_they_are_written_and_given_back_on_failure(tmp_path, monkeypatch):
    """The disk may fill after the look at it; and the run's last status needs the room that the half table has."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OSError, match="No space left"):
        features.compute(Means(), IMAGES, ROWS, tmp_path / "key.npy")
    assert not list(tmp_path.glob("*.partial"))
