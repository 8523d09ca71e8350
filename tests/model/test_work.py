"""Work: what a training learns from lies where its sample says, and in two sizes where augmentation cuts from it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from visrec.config import Settings, TrainConfig
from visrec.data import prepare as pixels
from visrec.data.demo import make_tiny_bucket
from visrec.errors import OutsideError
from visrec.model import augment, device, train, work
from visrec.runs.record import Runs
from visrec.runs.reporter import Reporter
from visrec.storage.folder import FolderStore

CONFIG = TrainConfig("tiny", image_size=48, alpha=0.35, weights="imagenet", fine_tune_epochs=2, batch_size=16)


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """A drawn bucket with one image that cannot be read."""
    monkeypatch.setattr(device, "make_ready", lambda **_: "CPU")
    make_tiny_bucket(tmp_path / "buckets" / "tiny", 40, size=96)
    sorted((tmp_path / "buckets" / "tiny").rglob("*.jpg"))[3].write_bytes(b"no image")
    return Settings(buckets=(tmp_path / "buckets",), runs=str(tmp_path / "runs"), cache=tmp_path / "cache")


def new_run(tmp_path):
    """The record of a run that has not begun."""
    return Runs(FolderStore(tmp_path / "records", create=True), tmp_path / "fetched").create({"kind": "trained"})


def prepared(config, settings, tmp_path, run=None):
    """What the first stage makes, and the shares of progress it told."""
    run, told = run or new_run(tmp_path), []
    with Reporter(run, listen=lambda status: told.append(status.stage_progress)) as reporter:
        made = work.prepare(train.plan(config, settings), settings, run, reporter)
    return made, [share for share in told if share is not None]


def test_each_image_to_learn_from_has_its_own_larger_copy(settings, tmp_path):
    """One row off, and every label of the training would be another image's."""
    made, told = prepared(CONFIG, settings, tmp_path)
    data = made.data

    assert min(len(data.train), len(data.tune)) > 0
    for small, large in zip(data.images[data.train], data.to_cut(data.train), strict=True):
        assert (72, 72, 3) == large.shape
        again = np.asarray(Image.fromarray(large).resize((48, 48), Image.Resampling.BILINEAR))
        assert np.abs(again.astype(int) - small.astype(int)).mean() < 4
    others = np.abs(data.images[data.train][1:].astype(int) - data.images[data.train][:-1]).mean((1, 2, 3))
    assert np.median(others) > 8  # another image would have been noticed
    assert told == sorted(told)
    assert 1.0 == told[-1]


def test_a_row_without_a_larger_copy_is_cut_from_what_there_is(settings, tmp_path):
    """A store that fails once in between costs sharpness, not an image."""
    data = prepared(CONFIG, settings, tmp_path)[0].data
    rows = data.larger_rows.copy()
    rows[data.train[0]] = -1
    cut = dataclasses.replace(data, larger_rows=rows).to_cut(data.train[:2])

    assert [(48, 48, 3), (72, 72, 3)] == [each.shape for each in cut]
    assert (2, 48, 48, 3) == augment.batch(cut, augment.Recipe(), np.random.default_rng(0), data.size).shape


@pytest.mark.parametrize("change", [{"weights": "none"}, {"fine_tune_epochs": 0, "epochs": 5}])
def test_nothing_is_decoded_twice_where_nothing_is_cut(change, settings, tmp_path):
    """From random weights images are only mirrored; a head alone sees them as they are."""
    data = prepared(dataclasses.replace(CONFIG, **change), settings, tmp_path)[0].data

    assert data.larger is None
    assert (48, 48, 3) == data.to_cut(data.train)[0].shape
    assert 1 == len(list((settings.cache / "prepared").glob("[0-9a-f]*")))


class Hiccup:
    """A store that does not give one file while it is told to fail."""

    def __init__(self, monkeypatch, name):
        self.failing, self.name, read = True, name, FolderStore.read
        monkeypatch.setattr(FolderStore, "local_path", lambda *_: None)
        monkeypatch.setattr(FolderStore, "read", lambda store, key, *rest: self.answer(read, store, key, *rest))

    def answer(self, read, store, key, *rest):
        """The bytes, or the failure of a store."""
        if self.failing and key == self.name:
            raise OutsideError("The store does not answer.")
        return read(store, key, *rest)


def test_a_resumed_run_goes_on_without_the_image_that_it_began_without(settings, tmp_path, monkeypatch):
    """The store gives it by now; learnt from in the second half only, it would make a third training."""
    name = prepared(CONFIG, settings, tmp_path)[0].samples["file"][0]
    settings = dataclasses.replace(settings, cache=tmp_path / "another")
    run, store = new_run(tmp_path), Hiccup(monkeypatch, name)
    began, _ = prepared(CONFIG, settings, tmp_path, run)
    store.failing = False
    resumed, _ = prepared(CONFIG, settings, tmp_path, run)

    assert [name] == run.record["unread"]
    assert name not in set(began.samples["file"])
    assert list(began.samples["file"]) == list(resumed.samples["file"])


def test_a_resumed_run_cuts_from_the_copies_that_it_began_with(settings, tmp_path, monkeypatch):
    """A larger copy more, or one less, and the same seed would show other pixels."""
    small = dataclasses.replace(CONFIG, fine_tune_epochs=0, epochs=5)
    first = prepared(small, settings, tmp_path)[0].samples
    name = first.loc[first["split"] == "train", "file"].iloc[0]
    run, store = new_run(tmp_path), Hiccup(monkeypatch, name)
    began, _ = prepared(CONFIG, settings, tmp_path, run)
    store.failing = False
    resumed, _ = prepared(CONFIG, settings, tmp_path, run)

    assert {"size": 72, "without": [name]} == run.record["cut_from"]
    np.testing.assert_array_equal(began.data.larger_rows, resumed.data.larger_rows)
    assert 1 == (began.data.larger_rows[began.data.train] < 0).sum()


def test_without_room_for_larger_copies_a_run_cuts_from_what_there_is(settings, tmp_path, monkeypatch):
    """Sharper learning is worth no failure; and once begun so, a run goes on so."""
    check = pixels._check_space

    def little(root, partial, needed):
        if needed % (72 * 72 * 3) == 0:
            raise pixels.NoRoomError("The disk is nearly full.")
        check(root, partial, needed)

    run = new_run(tmp_path)
    monkeypatch.setattr(pixels, "_check_space", little)
    began, _ = prepared(CONFIG, settings, tmp_path, run)
    monkeypatch.setattr(pixels, "_check_space", check)
    resumed, _ = prepared(CONFIG, settings, tmp_path, run)

    assert "at their own size" in run.log()
    assert began.data.larger is None
    assert resumed.data.larger is None
    assert {"size": 48} == run.record["cut_from"]
