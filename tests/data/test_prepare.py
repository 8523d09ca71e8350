"""Tests for visrec.data.prepare: decoded once, whole or not there, one bad image never fatal."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from visrec.data import prepare as module
from visrec.data.demo import make_tiny_bucket
from visrec.data.images import decode
from visrec.data.layouts import read_bucket
from visrec.data.prepare import needed_bytes, prepare
from visrec.data.split import assign_splits
from visrec.errors import OutsideError, RunError
from visrec.storage.folder import FolderStore

COUNT = 45


class Counting(FolderStore):
    """A store that remembers what was read, and can be told to fail or to be slow."""

    def __init__(self, root, broken=(), wait=0.0):
        super().__init__(root)
        self.asked, self.broken, self.wait = [], set(broken), wait

    def read(self, key):
        self.asked.append(key)
        time.sleep(self.wait)
        if key in self.broken:
            raise OutsideError(f"'{key}' stalls")
        return super().read(key)


@pytest.fixture
def bucket(tmp_path):
    return make_tiny_bucket(tmp_path / "bucket", 30)


@pytest.fixture
def samples(bucket):
    return assign_splits(read_bucket(FolderStore(bucket)))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_pixels_are_those_of_the_decoder(bucket, samples, cache):
    """Row by row, the memory map holds what `decode` gives; hash and size are of the original."""
    store = FolderStore(bucket)
    prepared = prepare(store, samples, 32, cache)

    assert (COUNT, 32, 32, 3) == prepared.images.shape
    assert np.uint8 == prepared.images.dtype
    assert isinstance(prepared.images, np.memmap)
    for sample in prepared.samples.to_dict("records"):
        data = store.read(sample["file"])
        assert np.array_equal(prepared.images[sample["row"]], decode(data, 32))
        assert hashlib.sha256(data).hexdigest() == sample["sha256"]
        assert (48, 48, "ok") == (sample["width"], sample["height"], sample["status"])


def test_sample_table_keeps_its_rows_and_columns(bucket, samples, cache):
    """The order given stays; the columns begin as designed."""
    shuffled = samples.sample(frac=1, random_state=0).reset_index(drop=True)
    prepared = prepare(FolderStore(bucket), shuffled, 32, cache)

    first = ["file", "label", "split", "sha256", "width", "height", "status", "row"]
    assert first == list(prepared.samples.columns[:8])
    assert list(shuffled["file"]) == list(prepared.samples["file"])
    assert list(shuffled["race"]) == list(prepared.samples["race"])


def test_second_time_reads_nothing(bucket, samples, cache):
    """Reused while nothing changed, whatever the split and the labels."""
    first = prepare(FolderStore(bucket), samples, 32, cache)
    store = Counting(bucket)
    other = assign_splits(read_bucket(FolderStore(bucket)), "race", seed=5)
    again = prepare(store, other, 32, cache)

    assert [] == store.asked
    assert first.fingerprint == again.fingerprint
    assert list(other["label"]) == list(again.samples["label"])


def test_one_changed_object_reads_one_object(bucket, samples, cache):
    """The other rows are copied from the data set there is."""
    first = prepare(FolderStore(bucket), samples, 32, cache)
    changed = samples["file"][3]
    FolderStore(bucket).write(changed, FolderStore(bucket).read(samples["file"][4]))
    store = Counting(bucket)

    second = prepare(store, samples, 32, cache)

    assert [changed] == store.asked
    assert first.fingerprint != second.fingerprint
    assert np.array_equal(second.images[3], second.images[4])
    assert np.array_equal(first.images[5:], second.images[5:])


def test_fewer_images_are_taken_from_more(bucket, samples, cache):
    """A limited sample of a bucket that is prepared already reads nothing."""
    prepare(FolderStore(bucket), samples, 32, cache)
    store = Counting(bucket)

    part = prepare(store, samples.iloc[::2], 32, cache)

    assert [] == store.asked
    assert len(samples.iloc[::2]) == len(part.images)


def test_size_and_fit_make_another_data_set(bucket, samples, cache):
    """Their pixels differ, so must the fingerprint."""
    store = FolderStore(bucket)
    found = {
        prepare(store, samples, s, cache, fit=f).fingerprint for s, f in ((32, "stretch"), (16, "stretch"), (32, "pad"))
    }

    assert 3 == len(found)


def test_bad_images_are_set_aside_and_counted(bucket, samples, cache):
    """Empty, cut, no image, gone: each named, none fatal, the rest whole."""
    store = FolderStore(bucket)
    bad = dict(zip(samples["file"][:3], [b"", store.read(samples["file"][1])[:400], b"no image at all"], strict=True))
    for key, data in bad.items():
        store.write(key, data)
    store.delete(samples["file"][3])

    prepared = prepare(store, samples, 32, cache)

    assert ["zero_byte", "truncated", "non_image", "missing_file"] == list(prepared.bad["status"])
    assert [-1] * 4 == list(prepared.bad["row"])
    assert COUNT - 4 == (prepared.samples["status"] == "ok").sum()
    assert (prepared.samples["row"][4:] >= 0).all()


def test_an_image_that_breaks_the_decoder_is_set_aside_and_the_rest_prepared(bucket, samples, cache, monkeypatch):
    """Whatever a decoder raises on one image, the others are decoded."""
    store = FolderStore(bucket)
    strange = samples["file"][2]
    size = len(store.read(strange))

    def breaking(data, read=module.read_header):
        if len(data) == size and data == store.read(strange):
            raise AttributeError("'NoneType' object has no attribute 'seek'")
        return read(data)

    monkeypatch.setattr(module, "read_header", breaking)
    prepared = prepare(store, samples, 32, cache)

    assert [(strange, "unreadable")] == list(zip(prepared.bad["file"], prepared.bad["status"], strict=True))


def test_object_the_store_failed_to_give_is_asked_for_again(bucket, samples, cache):
    """A broken image stays broken, a broken network does not."""
    lost = samples["file"][2]
    first = prepare(Counting(bucket, broken=[lost]), samples, 32, cache)
    still = prepare(Counting(bucket, broken=[lost]), samples, 32, cache)
    later = Counting(bucket)
    whole = prepare(later, samples, 32, cache)

    assert ["unread"] == list(first.bad["status"]) == list(still.bad["status"])
    assert 0 == len(whole.bad)
    assert {lost} == set(later.asked)


def test_store_that_fails_altogether_ends_the_work(bucket, samples, cache):
    """Setting aside every image would be no help."""
    with pytest.raises(OutsideError, match="stalls"):
        prepare(Counting(bucket, broken=samples["file"]), samples, 32, cache)


def test_progress_reaches_the_end(bucket, samples, cache):
    """From 0 to n in order, and at once when reused."""
    seen = []
    prepare(FolderStore(bucket), samples, 32, cache, progress=lambda done, total: seen.append((done, total)))

    assert [(n, COUNT) for n in range(COUNT + 1)] == seen
    seen.clear()
    prepare(FolderStore(bucket), samples, 32, cache, progress=lambda done, total: seen.append((done, total)))
    assert [(COUNT, COUNT)] == seen


def test_cancelled_work_is_gone_on_with(bucket, samples, cache):
    """Stop leaves no data set, but what was decoded is not decoded again."""
    done = []
    with pytest.raises(RunError, match="cancelled"):
        prepare(
            FolderStore(bucket), samples, 32, cache,
            progress=lambda n, _: done.append(n), stop=lambda: len(done) > 20,
        )  # fmt: skip
    assert [] == list((cache / "prepared").glob("[0-9a-f]*"))

    store = Counting(bucket)
    prepared = prepare(store, samples, 32, cache)

    assert len(store.asked) <= COUNT - 20
    assert_whole(bucket, prepared)


def test_no_thread_writes_after_the_work_was_given_up(bucket, samples, cache, monkeypatch):
    """The file is closed then, and its number may by that time belong to another file."""
    running, begun = [], []

    def slow_put(self, file, pixels, put=module.Journal.put):
        running.append(file)
        begun.append(file)
        time.sleep(0.05)
        check = put(self, file, pixels)
        running.remove(file)
        return check

    monkeypatch.setattr(module.Journal, "put", slow_put)
    with pytest.raises(RunError, match="cancelled"):
        prepare(FolderStore(bucket), samples, 32, cache, stop=lambda: bool(begun), threads=4)

    assert begun
    assert [] == running


def assert_whole(bucket, prepared):
    store = FolderStore(bucket)
    assert (prepared.samples["status"] == "ok").all()
    for file, row in zip(prepared.samples["file"], prepared.samples["row"], strict=True):
        assert np.array_equal(prepared.images[row], decode(store.read(file), prepared.images.shape[1]))


def test_row_that_never_reached_the_disk_is_decoded_again(bucket, samples, cache):
    """After a crash of the machine a line may speak for pixels that are not there; its checksum finds out."""
    done = []
    with pytest.raises(RunError):
        prepare(
            FolderStore(bucket), samples, 32, cache, progress=lambda n, _: done.append(n), stop=lambda: len(done) > 9
        )
    images = np.lib.format.open_memmap(next((cache / "prepared").glob(".partial-*")) / "images.npy", mode="r+")
    images[:] = 0
    images.flush()

    assert_whole(bucket, prepare(FolderStore(bucket), samples, 32, cache))


def test_too_little_space_is_said_before_anything_is_read(bucket, samples, cache, monkeypatch):
    """The sentence says what is needed and what is free."""
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    store = Counting(bucket)

    with pytest.raises(OutsideError, match="GB are free"):
        prepare(store, samples, 32, cache)
    assert [] == store.asked


def test_needed_space_is_three_bytes_a_pixel():
    """FairFace at 224 px: 15 GB."""
    assert 14.7 == round(needed_bytes(97_698, 224) / 1e9, 1)


SCRIPT = """
import sys, time
from pathlib import Path
from visrec.data.layouts import read_bucket
from visrec.data.prepare import prepare
from visrec.data.split import assign_splits
from visrec.storage.folder import FolderStore

class Slow(FolderStore):
    def read(self, key):
        time.sleep(float(sys.argv[3]))
        return super().read(key)

store = Slow(sys.argv[1])
table = assign_splits(read_bucket(FolderStore(sys.argv[1])))
print("ready", flush=True)
print(prepare(store, table, 32, Path(sys.argv[2])).fingerprint, flush=True)
"""


def process(bucket, cache, wait):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(bucket), str(cache), str(wait)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_at_once_make_one_data_set(bucket, samples, cache):
    """The second waits for the first and takes what it made."""
    pair = [process(bucket, cache, 0.02) for _ in range(2)]
    prints = {p.communicate(timeout=60)[0].split()[-1] for p in pair}

    assert 1 == len(prints)
    assert [0, 0] == [p.returncode for p in pair]
    assert prints == {path.name for path in (cache / "prepared").glob("[0-9a-f]*")}
    assert_whole(bucket, prepare(FolderStore(bucket), samples, 32, cache))


def test_killed_process_leaves_no_half(bucket, samples, cache):
    """SIGKILL in the middle: nothing to be taken for whole, and the next one goes on."""
    kill_at_random(bucket, cache, 0.1)

    assert not list((cache / "prepared").glob("[0-9a-f]*"))
    assert_whole(bucket, prepare(FolderStore(bucket), samples, 32, cache))


def kill_at_random(bucket, cache, after):
    child = process(bucket, cache, 0.05)
    assert "ready\n" == child.stdout.readline()
    time.sleep(after)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    child.stdout.close()


@pytest.mark.slow
def test_twenty_kills_at_random_moments_never_leave_a_half(bucket, samples, cache):
    """Whenever it dies, what stands under a fingerprint is whole."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        kill_at_random(bucket, cache, rng.uniform(0, 0.5))
        for folder in (cache / "prepared").glob("[0-9a-f]*"):
            facts = pd.read_parquet(folder / "samples.parquet")
            assert COUNT == len(facts) == json.loads((folder / "recipe.json").read_text())["images"]
            assert (facts["status"] == "ok").all()
            shutil.rmtree(folder)  # so that the next one has something to do

    assert_whole(bucket, prepare(FolderStore(bucket), samples, 32, cache))
