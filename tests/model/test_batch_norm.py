"""Tests for visrec.model.batch_norm: one kernel, the same network."""

import contextlib

import keras
import numpy as np
import pytest

from visrec.model import batch_norm, engine, mobilenet

pytestmark = pytest.mark.skipif(engine.backend() != "tensorflow", reason="Keras runs on another backend")


def unchanged(model):
    """Keras' own arithmetic."""
    return contextlib.nullcontext()


def trained(context, layer="", steps=3):
    """A small network after some steps, its losses, and what it says afterwards."""
    model = mobilenet.build(32, 2, 0.35, weights=mobilenet.Weights(None, ""), taps="deep", seed=0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 32, 32, 3)).astype(np.float32)
    wanted = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 16)]
    layers = model.get_layer(mobilenet.BACKBONE).layers
    for early in layers[: [x.name for x in layers].index(layer) if layer else 0]:
        early.trainable = False
    with context(model):
        model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy")
        losses = [float(model.train_on_batch(images, wanted)) for _ in range(steps)]
        inside = model.predict_on_batch(images)
    return model, losses, inside, np.asarray(model(images, training=False))


def failing_inside(model):
    """What happens when a training fails."""
    with batch_norm.fused(model):
        assert all("call" in vars(layer) for layer in mobilenet.batch_norms(model))
        raise RuntimeError("spoilt")


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["", "block_6_expand"])
def test_one_kernel_trains_the_same_network(layer):
    """Losses over three steps, all learning or the early layers frozen; moving statistics after one."""
    plain, fused = trained(unchanged, layer), trained(batch_norm.fused, layer)
    assert plain[1] == pytest.approx(fused[1], rel=1e-4)
    np.testing.assert_allclose(fused[2], fused[3], atol=1e-5)

    plain, fused = trained(unchanged, layer, 1), trained(batch_norm.fused, layer, 1)
    for one, other in zip(mobilenet.batch_norms(plain[0]), mobilenet.batch_norms(fused[0]), strict=True):
        for name in ("moving_mean", "moving_variance"):
            expected = getattr(one, name).numpy()
            error = np.abs(getattr(other, name).numpy() - expected).max()
            assert error <= 1e-3 * np.abs(expected).max() + 1e-6, (one.path, name)


def test_gradients_of_the_network_are_as_near_to_float64_as_keras_own():
    """Rounding is amplified by every ReLU6 that it tips over, so neither is near; the one kernel is not further off."""
    exact = gradients("float64", unchanged)
    errors = {}
    for name, context in {"keras": unchanged, "fused": batch_norm.fused}.items():
        found = gradients("float32", context)
        errors[name] = np.median([np.linalg.norm(f - e) / np.linalg.norm(e) for f, e in zip(found, exact, strict=True)])

    assert errors["keras"] < 0.05
    assert errors["fused"] < max(3 * errors["keras"], 1e-3), errors


def gradients(dtype, context) -> list[np.ndarray]:
    """Of one step's loss, by all that learns in the backbone, with a head that is not zero."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 64, 64, 3)).astype(dtype)
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        model = mobilenet.build(64, 2, 0.35, weights=mobilenet.Weights(None, ""), taps="deep", seed=0, dropout=0.0)
        kernel, bias = model.layers[-1].get_weights()
        mobilenet.set_head(model, rng.standard_normal(kernel.shape), bias)
        with context(model), tf.GradientTape() as tape:
            answers = model(tf.constant(images), training=True)
            loss = -tf.reduce_mean(tf.math.log(answers[:, 0]))
        learnt = model.get_layer(mobilenet.BACKBONE).trainable_variables
        return [np.asarray(g, np.float64) for g in tape.gradient(loss, [v.value for v in learnt])]
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def by_hand(x, gamma, beta, epsilon, wanted):
    """In float64: what Ioffe and Szegedy (2015, https://arxiv.org/abs/1502.03167) write, forwards and backwards."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    unit = (x - mean) / np.sqrt(variance + epsilon)
    offset, scale = wanted.sum((0, 1, 2)), (wanted * unit).sum((0, 1, 2))
    count = x[..., 0].size
    back = gamma / np.sqrt(variance + epsilon) * (wanted - offset / count - unit * scale / count)
    return unit * gamma + beta, back, scale, offset, mean, variance


@pytest.mark.parametrize(
    ("shape", "spread", "middle"),
    [((16, 24, 24, 8), 1.0, 0.0), ((8, 8, 8, 48), 1.0, 5.0), ((4, 2, 2, 96), 0.01, 0.0), ((1, 1, 3, 16), 1.0, 0.0)],
)
def test_values_and_gradients_are_the_formulas(shape, spread, middle):
    """Forwards, backwards and the moving statistics, against float64: also with few values and a far mean."""
    import tensorflow as tf

    rng = np.random.default_rng(shape[-1])
    x = rng.standard_normal(shape) * spread + middle
    gamma, beta = rng.standard_normal(shape[-1]) * 0.3 + 1, rng.standard_normal(shape[-1])
    wanted = rng.standard_normal(shape) + 0.5 * x
    layer = keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.0)
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    layer.set_weights([gamma, beta, np.zeros_like(beta), np.ones_like(beta)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobilenet, "batch_norms", lambda _: [layer])
        with batch_norm.fused(model), tf.GradientTape() as tape:
            inputs = tf.constant(x, tf.float32)
            tape.watch(inputs)
            outputs = model(inputs, training=True)
        found = tape.gradient(outputs, [inputs, *model.trainable_variables], tf.constant(wanted, tf.float32))

    expected = by_hand(x, gamma, beta, 1e-3, wanted)
    statistics = (layer.moving_mean, layer.moving_variance)
    for name, one, other in zip(
        ("values", "inputs", "scale", "offset", "mean", "variance"),
        [outputs, *found, *statistics], expected, strict=True,
    ):  # fmt: skip
        error = np.linalg.norm(np.asarray(one, np.float64) - other) / np.linalg.norm(other)
        assert error < 2e-4, name


def test_layers_are_keras_own_again_afterwards(tmp_path):
    """Also when training fails; a saved model knows nothing of the kernel."""
    model, _, _, answers = trained(batch_norm.fused)
    layers = mobilenet.batch_norms(model)
    assert len(layers) > 50
    assert not any("call" in vars(layer) for layer in layers)
    with pytest.raises(RuntimeError, match="spoilt"):
        failing_inside(model)
    assert not any("call" in vars(layer) for layer in layers)

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(again(images, training=False)), answers, atol=1e-6)


def test_half_precision_is_left_alone():
    """The kernel is for float32 on a CPU; nothing is changed for anything else."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mobilenet.build(32, 2, 0.35, weights=mobilenet.Weights(None, ""), taps="deep", seed=0)
        with batch_norm.fused(model):
            assert not any("call" in vars(layer) for layer in mobilenet.batch_norms(model))
    finally:
        keras.config.set_dtype_policy("float32")
