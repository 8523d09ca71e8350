"""Tests for visrec.model.batch_norm: one kernel, the same network."""

import contextlib

import keras
import numpy as np
import pytest

from visrec.model import batch_norm, engine, mobilenet

pytestmark = pytest.mark.skipif(engine.backend() != "tensorflow", reason="Keras runs on another backend")


def trained(context, layer=""):
    """A small network after three steps, its losses, and what it says afterwards."""
    model = mobilenet.build(32, 2, 0.35, weights=mobilenet.Weights(None, ""), taps="deep", seed=0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 32, 32, 3)).astype(np.float32)
    wanted = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 16)]
    mobilenet.freeze_before(model, layer)
    with context(model):
        model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy")
        losses = [float(model.train_on_batch(images, wanted)) for _ in range(3)]
        inside = model.predict_on_batch(images)
    return model, losses, inside, np.asarray(model(images, training=False))


def failing_inside(model):
    """What happens when a training fails."""
    with batch_norm.fused(model):
        assert all("call" in vars(layer) for layer in mobilenet.batch_norms(model))
        raise RuntimeError("spoilt")


@pytest.mark.parametrize("layer", ["", "block_6_expand"])
def test_one_kernel_trains_the_same_network(layer):
    """Losses, weights and moving statistics after three steps, all learning or the early layers frozen."""
    plain, fused = trained(lambda model: contextlib.nullcontext(), layer), trained(batch_norm.fused, layer)

    assert plain[1] == pytest.approx(fused[1], rel=1e-4)
    for one, other in zip(plain[0].weights, fused[0].weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-3, atol=2e-4, err_msg=one.path)
    np.testing.assert_allclose(fused[2], fused[3], atol=1e-5)


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
