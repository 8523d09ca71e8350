"""Neighbours in a planted feature space: the nearest are found, the far are said to be far."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from planted_models import drawn_image
from scipy.spatial.distance import cdist

from visrec.config import Settings
from visrec.errors import OutsideError, RunError
from visrec.explain.neighbours import build_index, index_run, load_index, sharpness
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
    """400 training images of two classes and 300 held-out ones."""
    train, held = clouds(400, 0), clouds(300, 1)
    names = [f"{i}.png" for i in range(400)]
    return build_index(train, names, ["even", "odd"] * 200, held, np.linspace(1, 8, 400))


def test_the_nearest_are_those_scipy_finds(index):
    """Cosine distances, an independent implementation."""
    asked = clouds(1, 7)[0]
    expected = cdist(asked[None], clouds(400, 0), "cosine")[0]

    found = index.near(asked, 5.0, count=4).images

    assert set(np.argsort(expected)[:4]) == {int(f.split(".")[0]) for f in found["file"]}
    np.testing.assert_allclose(found["distance"], np.sort(expected)[:4], atol=2e-3)
    assert ["even"] * 4 == found["label"].tolist()


def test_a_usual_image_is_not_far_and_another_kind_is(index):
    """99 % of held-out images are nearer than a direction that no training image has."""
    usual, strange = index.near(clouds(1, 9)[0], 5.0), index.near(np.eye(8)[6], 5.0)

    assert usual.far is False
    assert usual.percentile < 0.99
    assert strange.far is True
    assert 1.0 == strange.percentile


def test_about_one_in_a_hundred_held_out_images_is_called_far(index):
    """The threshold is calibrated: new images of the same data are far in about 1 %."""
    far = [index.near(x, 5.0).far for x in clouds(1000, 11)]

    assert np.mean(far) < 0.035


def test_with_few_held_out_images_far_is_unknown():
    """A 99th percentile of 20 images would be a guess."""
    index = build_index(clouds(50, 0), list("x" * 50), ["l"] * 50, clouds(20, 1), np.ones(50))

    found = index.near(np.eye(8)[6], 1.0)

    assert found.far is None
    assert np.isnan(found.percentile)


def test_blur_is_seen():
    """The same drawing blurred is less sharp, and blurrier than all training images."""
    from PIL import ImageFilter

    sharp = drawn_image(64, 2)
    blurred = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(3)))
    training = np.array([sharpness(drawn_image(64, i)) for i in range(120)])
    index = build_index(clouds(120, 0), ["x"] * 120, ["l"] * 120, clouds(120, 1), training)

    assert sharpness(blurred) < sharpness(sharp)
    assert not index.near(np.ones(8), sharpness(sharp)).blurred
    assert index.near(np.ones(8), sharpness(blurred)).blurred


class Colours:
    """Stands for a network: the mean colour is the feature."""

    image_size = 32

    def __call__(self, images):
        return images.mean(axis=(1, 2)).astype(np.float32) + 1


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
    assert 10 == len(made.held_out)
    assert (30, 30) == told[-1]
    for name in vars(made):
        np.testing.assert_array_equal(getattr(made, name), getattr(kept, name))


def test_there_is_no_index_before_it_was_made(run):
    """None, not an error: the page offers to make it."""
    assert load_index(run) is None


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
