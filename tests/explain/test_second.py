"""Second opinions on models whose answer is known, one contract over all methods."""

import numpy as np
import pytest
from planted_models import drawn_image, left_half

from visrec.errors import InputError, RunError
from visrec.explain.lime_image import explain_image
from visrec.explain.overlay import render_map
from visrec.explain.second import (
    by_superpixel,
    grad_cam,
    integrated_gradients,
    occlude_superpixels,
    occlusion,
)

SIZE = 32


@pytest.fixture(scope="module")
def left_model():
    """A Keras network, MobileNetV2's ending in small, whose class 1 is the brightness of the left half."""
    import keras

    inputs = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(1, 4, strides=4, use_bias=False)(inputs)
    grid = SIZE // 4
    left = np.zeros((grid, grid, 1), np.float32)
    left[:, : grid // 2] = 1
    maps = keras.layers.Multiply()([maps, keras.ops.convert_to_tensor(left[None])])
    pooled = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(maps))
    outputs = keras.layers.Dense(2, activation="softmax")(pooled)
    model = keras.Model(inputs, outputs)
    model.layers[1].set_weights([np.full((4, 4, 3, 1), 1 / 48 / 255, np.float32)])
    model.layers[-1].set_weights([np.array([[-8.0, 8.0]], np.float32), np.array([3.0, -3.0], np.float32)])
    return model


def asked(model):
    """A model as a plain predict function."""
    return lambda images: np.asarray(model(images, training=False))


METHODS = {
    "occlusion": lambda model, image: occlusion(image, asked(model), 1),
    "grad_cam": lambda model, image: grad_cam(model, image, 1),
    "integrated_gradients": lambda model, image: integrated_gradients(model, image, 1),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_left_half(left_model, method):
    """One contract: one finite value per pixel, and nearly all of it where the model looks."""
    image = drawn_image(SIZE, 1)

    found = METHODS[method](left_model, image)

    assert (SIZE, SIZE) == found.values.shape
    assert np.isfinite(found.values).all()
    assert (method, 1) == (found.method, found.label)
    share = np.abs(found.values[:, : SIZE // 2 + 3]).sum() / np.abs(found.values).sum()
    assert share > 0.95


def test_integrated_gradients_are_complete(left_model):
    """They sum to the difference between the answers at the two ends of the way."""
    from visrec.explain.masking import fill_image

    image = drawn_image(SIZE, 2)
    start = fill_image(image, np.zeros((SIZE, SIZE), int), "blur").astype(np.float32)
    ends = asked(left_model)(np.stack([image.astype(np.float32), start]))[:, 1]

    found = integrated_gradients(left_model, image, 1, steps=64)

    assert found.values.sum() == pytest.approx(float(ends[0] - ends[1]), abs=1e-4)


def test_grad_cam_sums_to_the_logit(left_model):
    """In its closed form the map is the logit without the bias, spread over the image."""
    image = drawn_image(SIZE, 3)
    bright = image[:, : SIZE // 2].mean() / 255 / 2

    found = grad_cam(left_model, image, 1)

    assert found.values.sum() == pytest.approx(8 * bright, rel=0.02)


def test_grad_cam_is_the_gradient(left_model):
    """The closed form equals what automatic differentiation says of logit and feature maps."""
    import keras
    import tensorflow as tf

    image = drawn_image(SIZE, 4)[None].astype(np.float32)
    maps = keras.Model(left_model.inputs, left_model.layers[-4].output)([image])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logit = tf.reduce_mean(maps, axis=(1, 2)) @ left_model.layers[-1].kernel + left_model.layers[-1].bias
        chosen = logit[:, 1]
    slope = tape.gradient(chosen, maps)
    expected = float(tf.reduce_sum(tf.reduce_mean(slope, axis=(1, 2)) * tf.reduce_sum(maps, axis=(1, 2))))

    assert grad_cam(left_model, image[0].astype(np.uint8), 1).values.sum() == pytest.approx(expected, rel=0.02)


def test_grad_cam_refuses_another_ending():
    """It says what the network ends in and what to ask for instead."""
    import keras

    layers = [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])

    with pytest.raises(InputError, match=r"ends in GlobalMaxPooling2D, Dense.*integrated_gradients or occlusion"):
        grad_cam(model, np.zeros((8, 8, 3), np.uint8), 0)


def test_grad_cam_follows_several_branches():
    """A head on an averaged and on a flattened branch, as ours may be: the map still sums to the logit."""
    import keras

    random = np.random.default_rng(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    fine = keras.layers.Conv2D(4, 4, strides=4, activation="relu")(inputs)
    coarse = keras.layers.Conv2D(5, 2, strides=2, activation="relu")(fine)
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(fine))
    both = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(coarse), flat])
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(both))
    model.set_weights([random.normal(0, 0.05, w.shape) for w in model.get_weights()])
    image = drawn_image(SIZE, 5)
    answer = np.log(np.asarray(model(image[None].astype(np.float32)))[0].astype(float))

    sums = np.array([grad_cam(model, image, label).values.sum() for label in range(3)])

    logits = sums + np.asarray(model.layers[-1].bias)
    np.testing.assert_allclose(np.diff(logits), np.diff(answer), rtol=0.05, atol=0.02)


def test_superpixel_occlusion_is_the_drop_of_each():
    """Hand-drawn: a model of the mean brightness of the left column; hiding the right changes nothing."""
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, :2] = 200
    segments = np.array([[0, 0, 1, 1]] * 4)

    def predict(images):
        p = images[:, :, 0].mean(axis=(1, 2)) / 255
        return np.stack([1 - p, p], axis=1)

    explained = explain_image(image, predict, samples=4, segmenter=segments, fill="grey")
    found = occlude_superpixels(image, predict, explained)

    np.testing.assert_allclose(found[1], [(200 - 127.5) / 255, 0], atol=1e-6)


def test_occlusion_can_be_stopped_and_tells_its_progress():
    """As every long work."""
    told = []
    occlusion(drawn_image(SIZE), left_half, 1, progress=lambda *at: told.append(at))
    assert told[-1][0] == told[-1][1]

    with pytest.raises(RunError, match="cancelled"):
        occlusion(drawn_image(SIZE), left_half, 1, stop=lambda: True)


def test_window_larger_than_the_image_is_told():
    """What came, what was expected."""
    with pytest.raises(InputError, match="window is 64 px, expected at most the image's shorter side, 32"):
        occlusion(drawn_image(SIZE), left_half, 1, window=64)


def test_a_map_is_drawn_like_heat():
    """Positive blue, negative orange, zero and unknown untouched."""
    grey = np.full((4, 4, 3), 128, np.uint8)
    values = np.zeros((4, 4))
    values[0], values[1], values[2] = 1, -1, np.nan

    shown = render_map(grey, values, opacity=1).astype(int)

    assert shown[0, 0, 2] > shown[0, 0, 0]
    assert shown[1, 0, 0] > shown[1, 0, 2]
    assert (shown[2:] == 128).all()


def test_superpixel_sums_keep_the_total():
    """Nothing is lost between pixels and superpixels."""
    values = np.random.default_rng(0).normal(size=(5, 6))
    segments = np.arange(30).reshape(5, 6) % 4

    assert by_superpixel(values, segments).sum() == pytest.approx(values.sum())
