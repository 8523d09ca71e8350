"""A mirrored model answers from both sides of an image, wherever it is taken to."""

import keras
import numpy as np
import pytest

from visrec.explain import second, taps
from visrec.model import engine, export, fine_tune, mobilenet

SIZE = 64


def network(mirror: bool):
    """Random weights and a head that is not zero, the same with and without mirror."""
    made = mobilenet.build(SIZE, 3, 0.35, weights=mobilenet.Weights(None, ""), taps="deep", seed=0, mirror=mirror)
    rng = np.random.default_rng(0)
    mobilenet.set_head(made, rng.standard_normal((1280, 3)) * 0.3, rng.standard_normal(3))
    return made


@pytest.fixture(scope="module")
def plain():
    """A network that sees one side."""
    return network(mirror=False)


@pytest.fixture(scope="module")
def both():
    """The same network, answering from both sides."""
    return network(mirror=True)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Images with a left and a right."""
    return np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32)


def logits(model, images) -> np.ndarray:
    """What the softmax is taken of, up to a constant for each image."""
    values = np.log(np.asarray(model.predict_on_batch(images), np.float64))
    return values - values.mean(axis=1, keepdims=True)


def test_the_answer_is_the_mean_over_an_image_and_its_mirror_image(plain, both, images):
    """In logits, since the head is linear on averaged maps; and so it is the same from either side."""
    turned = images[:, :, ::-1]

    expected = (logits(plain, images) + logits(plain, turned)) / 2
    np.testing.assert_allclose(logits(both, images), expected, atol=1e-4)
    np.testing.assert_allclose(both.predict_on_batch(turned), both.predict_on_batch(images), atol=1e-6)
    assert np.abs(logits(plain, turned) - logits(plain, images)).max() > 0.01


def test_every_copy_of_it_answers_the_same(both, images, tmp_path):
    """Kept as `.keras`, by the CPU engine, as TFLite."""
    expected = both.predict_on_batch(images)
    both.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_allclose(again.predict_on_batch(images), expected, atol=1e-6)
    np.testing.assert_allclose(engine.for_model(again, tmp_path / "model.xml")(images), expected, atol=1e-5)
    lite = export.tflite(tmp_path / "model.keras")
    np.testing.assert_allclose(export.run_tflite(lite, images[:1]), expected[:1], atol=1e-4)


def test_grad_cam_of_a_mirror_image_is_the_map_turned(both, images):
    """It reads the averaged maps, in the image's own left and right."""
    image = images[0].astype(np.uint8)
    found = second.grad_cam(both, image, 1).values
    turned = second.grad_cam(both, np.ascontiguousarray(image[:, ::-1]), 1).values

    np.testing.assert_allclose(turned[:, ::-1], found, atol=1e-5 * np.abs(found).max())


def test_taps_are_of_the_image_as_it_came(plain, both, images, tmp_path):
    """Those of the network itself, whether the model was just made or loaded; the features are of both sides."""
    both.save(tmp_path / "model.keras")
    one, widths = taps.tapped(plain)
    expected = np.asarray(one(images))[:, widths[0] :]
    for model in (both, keras.models.load_model(tmp_path / "model.keras")):
        found, same = taps.tapped(model)
        assert widths == same
        np.testing.assert_allclose(np.asarray(found(images))[:, widths[0] :], expected, atol=1e-4)


@pytest.mark.parametrize(("mirror", "chance"), [(True, 0.5), (False, 0.0)])
@pytest.mark.parametrize("pretrained", [True, False])
def test_where_sides_matter_nothing_is_mirrored_in_training(pretrained, mirror, chance):
    """With ImageNet's weights and from scratch."""
    assert chance == fine_tune.recipe_for(pretrained=pretrained, mirror=mirror).changes.flip
