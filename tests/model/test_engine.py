"""The frozen forward pass and what OpenVINO makes of it: constants only, one output, the same answers."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from visrec.model import engine  # noqa: E402

if engine.backend() != "tensorflow":
    pytest.skip("only Keras on TensorFlow is frozen", allow_module_level=True)

import tensorflow as tf  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@keras.saving.register_keras_serializable("visrec-tests")
class LooksAside(keras.layers.Layer):
    """Computes something that nothing uses."""

    def call(self, inputs):
        keras.ops.sum(inputs)
        return inputs / 255.0


@keras.saving.register_keras_serializable("visrec-tests")
class Hidden(keras.layers.Layer):
    """Scales by a variable of TensorFlow's own, of which Keras does not know."""

    def build(self, shape):
        self.factor = [tf.Variable(3.0)]

    def call(self, inputs):
        return inputs * self.factor[0]


def classifier(*first) -> "keras.Model":
    """A small network, batch normalisation with statistics of its own, behind some layers."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), name="image")
    found = image
    for layer in first:
        found = layer(found)
    norm = keras.layers.BatchNormalization()
    found = keras.layers.Dropout(0.5)(keras.layers.ReLU()(norm(keras.layers.Conv2D(4, 3)(found))))
    found = keras.layers.GlobalAveragePooling2D()(found)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(found))
    norm.set_weights([np.full(4, value, np.float32) for value in (1.5, 0.2, 0.4, 2.0)])
    return model


def nested() -> "keras.Model":
    """A model inside a model."""
    image = keras.Input((32, 32, 3), name="image")
    return keras.Model(image, classifier(LooksAside())(keras.layers.Rescaling(0.5)(image)))


@pytest.mark.parametrize("make", [lambda: classifier(LooksAside()), lambda: classifier(Hidden()), nested])
def test_frozen_answers_like_the_model_and_holds_no_variable(make):
    """Whoever takes the graph has everything, whatever becomes of the model."""
    model = make()
    forward = engine.frozen(model)
    told = model.predict_on_batch(PIXELS.astype(np.float32))
    model.set_weights([value * 0 for value in model.get_weights()])
    answer = tf.nest.flatten(forward(tf.constant(PIXELS, tf.float32)))[0].numpy()

    assert not forward.variables
    assert not [node for node in forward.graph.as_graph_def().node if node.op == "ReadVariableOp"]
    np.testing.assert_allclose(answer, told, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: classifier(LooksAside()), nested])
def test_openvino_answers_like_keras_and_what_leads_nowhere_is_no_output(make, tmp_path):
    """A dangling sum would be an output of its own, and perhaps the first."""
    ov = pytest.importorskip("openvino")
    model = make()
    path = engine.convert(model, tmp_path / "model.xml")

    assert 1 == len(ov.Core().read_model(str(path)).outputs)
    assert [] == list(tmp_path.glob("*.pb"))
    np.testing.assert_allclose(
        engine.OpenVinoEngine(path)(PIXELS), model.predict_on_batch(PIXELS.astype(np.float32)), atol=1e-5
    )


def test_a_tracing_leaves_the_model_as_it_was():
    """The constants stand in for the variables while the pass is traced, not afterwards."""
    model = classifier()
    before = model.get_weights()
    engine.frozen(model)
    model.get_layer(index=1).set_weights([value + 1 for value in model.get_layer(index=1).get_weights()])

    assert all(np.array_equal(a, b) for a, b in zip(before[2:], model.get_weights()[2:], strict=True))
    assert not np.array_equal(before[0], model.get_weights()[0])
