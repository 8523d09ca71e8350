"""Work: what a training learns from lies where its sample says, and in two sizes where augmentation cuts from it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from visrec.config import Settings, TrainConfig
from visrec.data.demo import make_tiny_bucket
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


def prepared(config, settings, tmp_path):
    """What the first stage makes, and the shares of progress it told."""
    run = Runs(FolderStore(tmp_path / "records", create=True), tmp_path / "fetched").create({"kind": "trained"})
    told = []
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
