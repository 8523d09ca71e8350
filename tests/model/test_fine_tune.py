"""Fine-tuning: exact resume, BatchNorm that follows, best weights, the engines' equality, files for elsewhere."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from visrec.errors import InputError, RunError
from visrec.model import augment, checkpoint, engine, export, fine_tune, mobilenet
from visrec.model.watch import Watch
from visrec.runs.record import Runs
from visrec.runs.reporter import Cancelled, Reporter
from visrec.storage.folder import FolderStore

SIZE, EPOCHS = 32, 3


@pytest.fixture(scope="module")
def data():
    """Bright and dark noise: learnt within a few steps. Three in four train rows have a larger copy to cut from."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (rng.integers(0, 120, (40, SIZE, SIZE, 3)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    places = np.where(np.arange(40) < 24, np.arange(40), -1)
    larger = np.stack([np.kron(image, np.ones((2, 2, 1), np.uint8)) for image in images[:24]])
    return fine_tune.Data(images, labels, np.ones(40, np.float32), np.arange(32), np.arange(32, 40), 2, larger, places)


def model(taps="deep", seed=0):
    """A small network from random weights."""
    return mobilenet.build(SIZE, 2, 0.35, weights=mobilenet.Weights(None, ""), taps=taps, seed=seed)


def new_run(path):
    """A run with a folder."""
    return Runs(FolderStore(path / "runs", create=True), path / "cache").create({"kind": "trained"})


RECIPE = fine_tune.Recipe(settle=0.4)


def tuned(run, data, stop_at=None, each_epoch=None, recipe=RECIPE):
    """Weights after fine-tuning, stopped at a step if asked."""
    network = model()
    watch = Watch(pd.DataFrame({"race": ["x", "y"] * 4}), ["race"])

    class Stopping(Reporter):
        steps = 0

        def advance(self, *args, **kwargs):
            self.steps += 1
            if self.steps == stop_at:
                self.ask_to_stop()
            super().advance(*args, **kwargs)

        def epoch(self, *args, **kwargs):
            if each_epoch:
                each_epoch(network)
            super().epoch(*args, **kwargs)

    with Stopping(run) as reporter:
        reporter.stage("fine_tune", "Training.")
        fine_tune.fine_tune(
            network, data, epochs=EPOCHS, batch_size=8, seed=0, recipe=recipe, run=run, reporter=reporter,
            watch=watch,
        )  # fmt: skip
    return network.get_weights()


def test_a_stopped_and_resumed_training_ends_with_the_same_weights(data, tmp_path):
    """Batch order, augmentation and its end, dropout, optimizer and best weights all go on where they were.

    Also when the version that goes on has another recipe by now.
    """
    whole, cut = new_run(tmp_path / "a"), new_run(tmp_path / "b")
    expected = tuned(whole, data)

    with pytest.raises(Cancelled):
        tuned(cut, data, stop_at=6)  # in the second epoch of four steps
    resumed = tuned(cut, data, recipe=fine_tune.Recipe(rate=5e-4, settle=0.0, changes=augment.FLIP_ONLY))

    for one, other in zip(expected, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(whole.history(), cut.history())


def test_a_run_of_before_recipes_were_written_down_goes_on_without_settling(tmp_path):
    """As it began; what it began with is nowhere else to be read."""
    run = new_run(tmp_path)
    assert fine_tune._as_begun(run, RECIPE) == RECIPE
    run.store.write(checkpoint.LAST, b"of an epoch")
    assert fine_tune._as_begun(run, fine_tune.FROM_SCRATCH) == RECIPE

    run.update(recipe=None)
    assert fine_tune._as_begun(run, RECIPE) == fine_tune.Recipe(settle=0.0)


@pytest.mark.parametrize("flip", [0.5, 0.0])
def test_the_last_epochs_see_images_as_they_are_or_mirrored_at_most(data, flip):
    """Two of fourteen; before them no image comes unchanged."""
    changes = augment.Recipe(flip=flip)
    fed = fine_tune.feed(data, fine_tune.Recipe(changes=changes), 8, 0, epochs=14)
    as_they_are = {image.tobytes() for image in data.images[data.train]}
    mirrored = {image[:, ::-1].tobytes() for image in data.images[data.train]} if flip else set()
    for epoch in range(14):
        fed.epoch = epoch
        seen = {image.astype(np.uint8).tobytes() for step in range(len(fed)) for image in fed[step][0]}
        if epoch < 12:
            assert not seen & (as_they_are | mirrored)
        else:
            assert seen <= as_they_are | mirrored
            assert bool(seen & mirrored) == bool(flip)
            assert len(seen) == len(data.train)


def test_a_few_epochs_are_all_augmented():
    """There is nothing to settle in three of them; of twenty it is the last three."""
    assert fine_tune.Recipe().settles_from(3) == 3
    assert fine_tune.Recipe().settles_from(20) == 17


def test_the_figures_of_an_epoch_are_means_over_its_steps():
    """Loss by step, accuracy by weight; not those of the last batch."""
    figures = [{"loss": 3.0, "accuracy": 0.25}, {"loss": 1.0, "accuracy": 1.0}]
    batches = [(None, None, np.float32([1, 1])), (None, None, np.float32([3, 3]))]
    left, seen = iter(figures), []

    class Network:
        def train_on_batch(self, *_, **__):
            return next(left)

    found = fine_tune.step_by_step(Network(), batches, lambda step, logs: seen.append((step, logs["loss"])))

    assert found == {"loss": 2.0, "accuracy": pytest.approx((2 * 0.25 + 6 * 1.0) / 8)}
    assert seen == [(0, 3.0), (1, 1.0)]


def test_nan_loss_fails_with_a_sentence(data, tmp_path):
    """A loss that is no number is said, and the last good checkpoint is kept."""
    spoilt = fine_tune.Data(data.images, data.labels, data.weights * np.nan, data.train, data.tune, 2)
    run = new_run(tmp_path)

    with pytest.raises(RunError, match="loss was no number"):
        tuned(run, spoilt)

    assert run.status().state == "failed"


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    """Weights must never land in the wrong layers."""
    run = new_run(tmp_path)
    checkpoint.save(run, checkpoint.BEST, model())

    with pytest.raises(InputError, match="another version"):
        checkpoint.load(run, checkpoint.BEST, mobilenet.feature_model(model("both")))


@pytest.mark.parametrize("taps", mobilenet.TAPS)
def test_openvino_equals_keras(taps, tmp_path):
    """The CPU engine may be faster, never different: within 1e-5 of the Keras model, for whole and part batches."""
    network = model(taps)
    rng = np.random.default_rng(1)
    kernel = network.get_layer(mobilenet.HEAD).kernel.shape
    mobilenet.set_head(network, rng.normal(0, 0.03, kernel), np.zeros(2))
    images = rng.integers(0, 256, (7, SIZE, SIZE, 3)).astype(np.uint8)

    fast = engine.for_model(network, tmp_path / "m.xml", engine=engine.OPENVINO)
    keras_answers = np.asarray(network.predict_on_batch(images.astype(np.float32)))

    assert fast.name == "openvino"
    assert np.ptp(keras_answers[:, 0]) > 1e-3
    np.testing.assert_allclose(fast(images), keras_answers, atol=1e-5)
    np.testing.assert_allclose(engine.KerasEngine(network)(images), keras_answers, atol=1e-5)


def test_the_same_seed_draws_the_same_weights():
    """On every machine and backend; another seed draws others."""
    first, again, other = model(seed=1).get_weights(), model(seed=1).get_weights(), model(seed=2).get_weights()

    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_batch_norm_follows_a_short_training():
    """With MobileNetV2's own momentum, 0.999, validation falls apart while training looks well."""
    found = mobilenet.batch_norms(model())

    assert len(found) > 50
    assert {layer.momentum for layer in found} == {0.9}


def test_saved_model_takes_encoded_bytes(tiny_run, tiny_settings):
    """A service gets files, not arrays; its answer is that of the predictions table."""
    import tensorflow as tf

    rows = tiny_run.predictions().iloc[:3]
    folder = tiny_settings.buckets[0] / "tiny"
    served = tf.saved_model.load(str(tiny_run.local("model"))).signatures["serving_default"]

    answer = served(image_bytes=tf.constant([(folder / f).read_bytes() for f in rows["file"]]))

    assert [p.decode() for p in answer["prediction"].numpy()] == list(rows["prediction"])
    np.testing.assert_allclose(answer["probabilities"][:, 1], rows["score:smiling"], atol=0.02)


def test_model_file_loads_with_plain_keras(tiny_run, tiny_settings):
    """No custom objects, pixels 0..255 in, probabilities out in the order of labels.txt."""
    import keras

    from visrec.model.predict import load_predictor

    plain = keras.models.load_model(tiny_run.local("model.keras"))
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3)).astype(np.float32)
    ours = load_predictor(tiny_run, cache=tiny_settings.cache / "engines")(images)

    np.testing.assert_allclose(plain.predict_on_batch(images), ours, atol=1e-5)


@pytest.mark.slow
def test_tflite_answers_as_keras_does(tiny_run, tmp_path):
    """A model exported for a phone must not be another model."""
    import keras

    goal, labels = export.copy_out(tiny_run, "tflite", tmp_path)
    pixels = np.random.default_rng(3).uniform(0, 255, (1, 48, 48, 3)).astype(np.float32)
    plain = keras.models.load_model(tiny_run.local("model.keras"))

    np.testing.assert_allclose(export.run_tflite(goal.read_bytes(), pixels), plain.predict_on_batch(pixels), atol=1e-4)
    assert labels.read_text().split() == tiny_run.labels()


def notes_of(run) -> dict:
    """What the training loop noted in the run's last checkpoint."""
    with np.load(io.BytesIO(run.store.read(checkpoint.LAST))) as arrays:
        return json.loads(bytes(arrays["notes"]))


@pytest.mark.slow
def test_the_time_before_a_stop_is_counted_with_the_time_after(data, tmp_path, monkeypatch):
    """What a checkpoint holds was paid for: the run took so much longer than its last process."""
    run = new_run(tmp_path)
    with monkeypatch.context() as slow:
        slow.setattr(Reporter, "closed_seconds", lambda self: {"fine_tune": 1000.0})
        with pytest.raises(Cancelled):
            tuned(run, data, stop_at=6)
    assert 1000.0 == notes_of(run)["seconds"]

    tuned(run, data)
    assert 1000.0 < notes_of(run)["seconds"] < 1600.0


def test_an_unknown_export_format_is_named(tiny_run, tmp_path):
    """The message lists what there is."""
    with pytest.raises(InputError, match="savedmodel, keras or tflite"):
        export.copy_out(tiny_run, "onnx", tmp_path)
