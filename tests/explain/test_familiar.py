"""Familiarity on drawn faces: what is of another kind is called far, what is of the same kind is not."""

import numpy as np
import pytest
from planted_models import FACE, drawn_image, faces

from visrec.explain.familiar import FALSE_ALARMS, SPOILT, learn, plain_views, spoil
from visrec.explain.taps import tapped


@pytest.fixture(scope="module")
def familiar():
    """Learnt from 300 drawn faces, 400 held out, by the views that need no network."""
    train = faces(300, 0)
    spoilt = {kind: plain_views(spoil(train[:150], kind)) for kind in SPOILT}
    return learn(plain_views(train), spoilt, plain_views(faces(400, 1)))


def share_far(familiar, images: np.ndarray) -> float:
    """Of how many images it is said that they are far."""
    return float(np.mean([familiar.is_far(score) for score in familiar.score(plain_views(images))]))


def test_new_images_of_the_same_kind_are_far_at_the_stated_rate(familiar):
    """Two in a hundred, give or take what 600 images can tell."""
    share = share_far(familiar, faces(600, 2))

    assert share <= FALSE_ALARMS + 3 * np.sqrt(FALSE_ALARMS * (1 - FALSE_ALARMS) * (1 / 600 + 1 / 200))


def other_kinds() -> dict[str, np.ndarray]:
    """Images of which none is an upright face, forty of each."""
    random = np.random.default_rng(3)
    same = faces(40, 4)
    return {
        "noise": random.integers(0, 256, (40, FACE, FACE, 3)).astype(np.uint8),
        "one colour": np.repeat(random.integers(0, 256, (40, 1, 1, 3)), FACE, 1).repeat(FACE, 2).astype(np.uint8),
        "drawings": np.stack([drawn_image(FACE, i) for i in range(40)]),
        **{kind: spoil(same, kind, seed=9) for kind in SPOILT},
        "turned right": np.rot90(same, -1, axes=(1, 2)),
    }


@pytest.mark.parametrize("kind", ["noise", "one colour", "drawings", *SPOILT, "turned right"])
def test_images_of_another_kind_are_far(familiar, kind):
    """At least nine in ten of every kind, also of those that were not learnt from."""
    assert share_far(familiar, other_kinds()[kind]) >= 0.9


def test_a_question_that_tells_nothing_falls_silent():
    """Where upside down is as usual as any, turning an image over makes it no stranger."""
    random = np.random.default_rng(0)
    noise = lambda n: [random.normal(0, 1, (n, 12))]
    found = learn(noise(300), {"upside down": noise(300)}, noise(400))

    assert np.mean([found.is_far(s) for s in found.score(noise(600))]) < 0.05


def test_with_few_held_out_images_nothing_is_claimed():
    """A threshold from 40 images would be a guess."""
    views = plain_views(faces(40, 0))

    assert learn(views, {"upside down": views}, views) is None


@pytest.mark.parametrize("nested", [True, False])
def test_taps_are_taken_from_flat_and_nested_networks(nested):
    """The last map of each resolution but the coarsest, on a 4 x 4 grid; the features are the dense layer's input."""
    import keras

    layers = keras.layers
    inner_in = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inner_in)
    x = layers.Conv2D(5, 3, strides=2, padding="same")(x)
    x = layers.Conv2D(6, 3, strides=2, padding="same")(x)
    if nested:
        outer_in = keras.Input((32, 32, 3))
        x = keras.Model(inner_in, x)(layers.Rescaling(1 / 255)(outer_in))
    start = outer_in if nested else inner_in
    pooled = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(start, layers.Dense(2)(pooled))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)

    taps, widths = tapped(model)
    found = np.asarray(taps(images))

    assert [6, 4 * 16, 5 * 16] == widths
    np.testing.assert_allclose(found[:, :6], keras.Model(start, pooled)(images), rtol=1e-4, atol=1e-4)
