"""Tests for the fit of images in what is exported: serving must see what training saw."""

import io

import numpy as np
import pytest
from PIL import Image

from visrec.data.images import FITS, decode


def picture(width: int, height: int, seed: int) -> bytes:
    """A smooth drawn picture, PNG: no decoder may differ, so only the fit can."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(90, 61), (61, 90), (64, 64), (200, 33), (20, 31)])
def test_serving_makes_the_square_that_training_saw(fit, shape):
    """The exported signature takes bytes: within one step of 255 of the prepared pixels, for every fit and shape."""
    import tensorflow as tf

    from visrec.model.export import _square

    data = picture(*shape, seed=sum(shape))
    ours = decode(data, 48, fit).astype(np.float32)
    served = _square(tf.io.decode_image(data, channels=3, expand_animations=False), 48, fit).numpy()

    assert (48, 48, 3) == served.shape
    assert np.abs(ours - served).max() <= 1.0
    assert np.abs(ours - served).mean() < 0.25


def test_a_saved_model_answers_to_bytes_as_to_the_prepared_pixels(tmp_path):
    """Skew between training and serving would be a model that nobody audited; here on a padded photograph's shape."""
    import keras
    import tensorflow as tf

    from visrec.model.export import write_saved_model

    keras.utils.set_random_seed(0)
    take = keras.Input((48, 48, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(take)
    told = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(scaled))
    model = keras.Model(take, told)
    data = picture(120, 50, 3)

    for fit in FITS:
        assert write_saved_model(model, tmp_path / fit, ["a", "b"], fit)
        served = tf.saved_model.load(str(tmp_path / fit)).signatures["serving_default"](tf.constant([data]))
        pixels = decode(data, 48, fit).astype(np.float32)[None]
        np.testing.assert_allclose(served["probabilities"].numpy(), model.predict_on_batch(pixels), atol=2e-3)
