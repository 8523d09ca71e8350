"""A resumed run goes on with the data it began with, or not at all."""

import numpy as np
import pytest
from PIL import Image

from visrec.config import Settings, TrainConfig
from visrec.data.decisions import save_decisions
from visrec.errors import RunError
from visrec.model import device, steps, train
from visrec.runs.record import open_runs
from visrec.storage.buckets import open_bucket

CONFIG = TrainConfig("pets", image_size=48, alpha=0.35, weights="none", fine_tune_epochs=2, batch_size=16)


def draw(folder, numbers) -> None:
    """Images of noise, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng([number, len(folder.name)]).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """Class folders without a val split; a training of them is cut off once its data are read."""

    def cut(*_):
        raise RunError("cut off")

    monkeypatch.setattr(device, "make_ready", lambda **_: "CPU")
    monkeypatch.setattr(steps, "weights", cut)
    for name in ("cat", "dog"):
        draw(tmp_path / "buckets" / "pets" / name, range(60))
    return Settings(buckets=(tmp_path / "buckets",), runs=str(tmp_path / "runs"), cache=tmp_path / "cache")


def begun(settings):
    """A run that stopped after its data were read."""
    with pytest.raises(RunError, match="cut off"):
        train.train(CONFIG, settings)
    [run] = open_runs(settings).list()
    return run


@pytest.mark.parametrize("keep", [("splits", "data_fingerprint"), ("data_fingerprint",)])
def test_a_run_does_not_go_on_when_images_were_added(settings, keep):
    """Where val is drawn, three images more draw it anew, and what was learnt from would be judged by."""
    run = begun(settings)
    lineage = {name: value for name, value in run.record["lineage"].items() if name in keep}
    run.update(lineage=lineage)  # runs of earlier versions kept no name of their splits
    draw(settings.buckets[0] / "pets" / "cat", range(60, 63))

    with pytest.raises(RunError, match=r"The bucket changed since this run began.*Start a new run"):
        train.train(CONFIG, settings, run=run)
    assert lineage == run.record["lineage"]


def test_a_run_goes_on_where_nothing_changed(settings):
    """The refusal must not come by itself."""
    run = begun(settings)

    with pytest.raises(RunError, match="cut off"):
        train.train(CONFIG, settings, run=run)


def test_a_run_goes_on_with_the_decisions_it_began_with(settings):
    """What is decided for the bucket since then holds for the next run, not for one half done."""
    run = begun(settings)
    before = run.record["data_decisions"]
    save_decisions(settings.cache, open_bucket("pets", settings).url, {"duplicate": "drop_extra"})

    with pytest.raises(RunError, match="cut off"):
        train.train(CONFIG, settings, run=run)
    assert before == run.record["data_decisions"]
