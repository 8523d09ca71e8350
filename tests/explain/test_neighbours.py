"""Neighbours in a planted feature space: the nearest are found, and an index is made, kept and loaded."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from planted_models import drawn_image
from scipy.spatial.distance import cdist

from visrec.config import Settings
from visrec.errors import OutsideError, RunError
from visrec.explain.familiar import learn
from visrec.explain.neighbours import FeaturePredictor, build_index, index_run, load_index, save_index
from visrec.explain.pixels import read_pixels
from visrec.runs.record import Run
from visrec.storage.folder import FolderStore


def clouds(count: int, seed: int) -> np.ndarray:
    """Points around two directions of an 8-dimensional space: class i % 2."""
    random = np.random.default_rng(seed)
    centres = np.eye(8)[:2] * 5
    return centres[np.arange(count) % 2] + random.normal(0, 0.5, (count, 8))


@pytest.fixture(scope="module")
def index():
    """400 training images of two classes; what is usual is not known."""
    names = [f"{i}.png" for i in range(400)]
    return build_index(clouds(400, 0), names, ["even", "odd"] * 200, np.linspace(1, 8, 400), None)


def test_the_nearest_are_those_scipy_finds(index):
    """Cosine distances, an independent implementation."""
    asked = clouds(1, 7)[0]
    expected = cdist(asked[None], clouds(400, 0), "cosine")[0]

    found = index.near(asked, [], count=4).images

    assert set(np.argsort(expected)[:4]) == {int(f.split(".")[0]) for f in found["file"]}
    np.testing.assert_allclose(found["distance"], np.sort(expected)[:4], atol=2e-3)
    assert ["even"] * 4 == found["label"].tolist()


def test_without_held_out_images_far_is_unknown(index):
    """Not False: nobody knows."""
    found = index.near(np.eye(8)[6], [])

    assert found.far is None
    assert np.isnan(found.percentile)


class Colours:
    """Stands for a network: the mean colour is the feature."""

    image_size = 32

    def look(self, images):
        means = images.mean(axis=(1, 2)).astype(np.float32) + 1
        return means, [means]


@pytest.fixture
def run(tmp_path):
    """A run whose bucket holds drawings; one file is damaged."""
    bucket = tmp_path / "buckets" / "b"
    bucket.mkdir(parents=True)
    rows = []
    for i in range(30):
        buffer = io.BytesIO()
        Image.fromarray(drawn_image(40, i)).save(buffer, "PNG")
        (bucket / f"{i}.png").write_bytes(buffer.getvalue() if i else b"no image any more")
        rows.append({"file": f"{i}.png", "split": "train" if i < 20 else "val", "label": "l"})
    run = Run("r", FolderStore(tmp_path / "r", create=True), tmp_path / "fetched")
    run.write_json("run.json", {"id": "r", "kind": "trained", "bucket": str(bucket)})
    run.write_table("predictions.parquet", pd.DataFrame(rows))
    return run


def test_the_index_of_a_run_is_made_kept_and_loaded(run):
    """19 of 20 training images can be read; the index comes back as it was."""
    told = []

    made = index_run(run, Settings(), Colours(), progress=lambda *at: told.append(at))
    kept = load_index(run)

    assert 19 == len(made.files) == len(made.labels) == len(made.features)
    assert made.familiar is None
    assert (30, 30) == told[-1]
    for name in ("features", "files", "labels", "sharpness"):
        np.testing.assert_array_equal(getattr(made, name), getattr(kept, name))


def test_what_is_usual_is_kept_with_the_index(run):
    """Saved and loaded it scores as before."""
    views = lambda count, seed: [clouds(count, seed)]
    familiar = learn(views(200, 0), {"upside down": [-clouds(200, 0)]}, views(200, 1))
    index = build_index(clouds(20, 0), list("x" * 20), ["l"] * 20, np.ones(20), familiar)

    save_index(run, index)

    np.testing.assert_array_equal(familiar.score(views(9, 5)), load_index(run).familiar.score(views(9, 5)))


def test_an_index_of_an_earlier_version_is_made_anew(run):
    """It asked another question; the page offers to make one."""
    buffer = io.BytesIO()
    np.savez(buffer, features=np.ones((1, 1)), held_out=np.ones(1))
    run.store.write("explanations/neighbours.npz", buffer.getvalue())

    assert load_index(run) is None


def test_there_is_no_index_before_it_was_made(run):
    """None, not an error: the page offers to make it."""
    assert load_index(run) is None


def test_features_leave_the_device_to_a_training(monkeypatch, run):
    """While one trains, network and engine stay on the CPU, on a machine with a GPU too; an index made then as well."""
    from visrec.explain import neighbours, taps
    from visrec.model import engine, predict
    from visrec.runs import jobs

    asked, chosen = [], []
    monkeypatch.setattr(engine, "gpus", lambda: ["GPU"])
    monkeypatch.setattr(predict, "load_keras", lambda path, cpu_only=False: asked.append(cpu_only))
    monkeypatch.setattr(taps, "tapped", lambda model: (model, [4]))
    monkeypatch.setattr(engine, "for_model", lambda model, scratch, engine=None: chosen.append(engine) or Colours())
    run.store.write("model.keras", b"planted")

    FeaturePredictor(run)
    FeaturePredictor(run, device_busy=True)

    assert [False, True] == asked
    assert engine.KERAS == chosen[0] != chosen[1]
    busy = []
    monkeypatch.setattr(jobs, "is_training", lambda settings: True)
    monkeypatch.setattr(neighbours, "FeaturePredictor", lambda run, device_busy: busy.append(device_busy) or Colours())
    index_run(run, Settings())
    assert [True] == busy


def test_reading_stops_when_told(run):
    """As every long work."""
    store = FolderStore(run.record["bucket"])

    with pytest.raises(RunError, match="cancelled"):
        list(read_pixels(store, ["1.png", "2.png"], 32, stop=lambda: True))


def test_a_store_that_fails_is_not_mistaken_for_bad_images():
    """The world outside failed: said as it is, never an empty atlas."""

    class Down:
        def read_many(self, keys, stop=None):
            yield from ((k, OutsideError("The store cannot be reached.")) for k in keys)

    with pytest.raises(OutsideError, match="cannot be reached"):
        list(read_pixels(Down(), ["a", "b"], 32))
