"""Blur: seen against training images where there are some, and plainly without."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from planted_models import drawn_image

from visrec.config import Settings
from visrec.data.prepare import prepare
from visrec.explain.blur import LEAST, is_blurred, sharpness, usual_sharpness
from visrec.runs.record import Run
from visrec.storage.folder import FolderStore


def blurred(image: np.ndarray, radius: float = 3) -> np.ndarray:
    """The same image out of focus."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


@pytest.fixture
def run(tmp_path):
    """A run that was trained on drawings of 32 pixels, and its settings."""
    bucket = tmp_path / "buckets" / "b"
    bucket.mkdir(parents=True)
    count = LEAST + 20
    for i in range(count):
        buffer = io.BytesIO()
        Image.fromarray(drawn_image(40, i)).save(buffer, "PNG")
        (bucket / f"{i}.png").write_bytes(buffer.getvalue())
    rows = pd.DataFrame({"file": [f"{i}.png" for i in range(count)], "split": "train", "label": "l"})
    rows.loc[LEAST:, "split"] = "val"
    run = Run("r", FolderStore(tmp_path / "r", create=True), tmp_path / "fetched")
    run.write_json("run.json", {"id": "r", "kind": "trained", "bucket": str(bucket)})
    run.write_table("predictions.parquet", rows)
    return run, Settings(cache=tmp_path / "cache"), rows


def test_a_blurred_drawing_is_blurrier_than_drawings():
    """And the sharp one is not."""
    sharp = drawn_image(64, 2)
    usual = np.sort([sharpness(drawn_image(64, i)) for i in range(120)])

    assert sharpness(blurred(sharp)) < sharpness(sharp)
    assert not is_blurred(sharp, usual)
    assert is_blurred(blurred(sharp), usual)


def test_without_training_images_only_what_is_plainly_blurred_is_called_so():
    """A fixed floor: a soft photo passes, a smear does not."""
    sharp = drawn_image(96, 2)

    assert not is_blurred(sharp, None)
    assert is_blurred(blurred(sharp, 5), None)


def test_prepared_pixels_say_how_sharp_training_images_are(run):
    """Of the run's own bucket, size and fit, and of training images alone."""
    trained, settings, rows = run
    assert usual_sharpness(trained, settings, 32) is None

    prepare(FolderStore(trained.record["bucket"]), rows, 32, settings.cache)
    found = usual_sharpness(trained, settings, 32)

    assert LEAST == len(found)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_array_equal(found, usual_sharpness(trained, settings, 32))
    assert usual_sharpness(trained, settings, 64) is None


def test_a_run_without_predictions_or_bucket_has_no_usual_sharpness(run):
    """An imported model: nothing to compare with, and no fault."""
    trained, settings, _ = run
    trained.write_json("run.json", {"id": "r", "kind": "imported-model"})

    assert usual_sharpness(trained, settings, 32) is None


def test_real_faces_are_not_called_blurred_and_smeared_ones_are(shared):
    """What the floor was chosen by: at both sizes no photo of FairFace lies below it, and smeared ones do."""
    from visrec.data.images import decode

    files = sorted((shared / "data" / "fairface" / "val").rglob("*.jpg"))[:200]
    for size in (96, 224):
        images = [decode(f.read_bytes(), size) for f in files]
        assert np.mean([is_blurred(image, None) for image in images]) == 0
        assert np.mean([is_blurred(blurred(image, size / 20), None) for image in images]) == 1
