"""A model of one's own becomes a run: every kind of file, one number, and faults told before a run is made."""

import json
from pathlib import Path

import numpy as np
import pytest

from visrec import cli
from visrec.config import Settings
from visrec.errors import InputError, NotFoundError
from visrec.model import foreign
from visrec.model.tflite import TfliteEngine, square_side, to_probabilities
from visrec.runs.record import open_runs

SIZE = 32
pytestmark = pytest.mark.xdist_group("import_model")


def net(outputs: int, activation: str | None, *, size: int | None = SIZE, channels: int = 3):
    """Two layers that take 0..1; untrained, but not alike for all images."""
    from visrec.model import device

    device.make_ready(cpu_only=True)
    import keras

    layers = [
        keras.Input((size, size, channels)),
        keras.layers.Conv2D(4, 3, strides=2, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(1)),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(outputs, activation=activation, kernel_initializer=keras.initializers.RandomNormal(0, 3, 1)),
    ]
    return keras.Sequential(layers)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The same softmax model as each kind of file, and others that differ in one thing."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("models")
    model = net(2, "softmax")
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.export(str(folder / "saved"), verbose=False)
    (folder / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    net(1, "sigmoid").save(folder / "one.keras")
    net(1, None).save(folder / "logit.keras")
    net(3, None).save(folder / "logits.keras")
    net(3, "sigmoid").save(folder / "several.keras")
    net(2, "softmax", size=None).save(folder / "open.keras")
    open_size = net(2, "softmax", size=None)
    (folder / "open.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(open_size).convert())
    net(2, "softmax", size=20).save(folder / "small.keras")
    net(2, "softmax", channels=1).save(folder / "grey.keras")
    (folder / "broken.tflite").write_bytes(b"no model")
    (folder / "broken.keras").write_bytes(b"no model")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def images():
    """Pixels 0..255."""
    return np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)


def own_runs(settings: Settings, tmp_path, monkeypatch) -> Settings:
    """The tiny bucket, and runs of this test alone, as the command line sees them."""
    monkeypatch.setenv("VISREC_BUCKETS", str(settings.buckets[0]))
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VISREC_CACHE", str(tmp_path / "cache"))
    return Settings.load(dotenv=None)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "saved", "m.tflite"])
def test_every_kind_of_file_answers_as_the_original(files, tmp_path, images, name):
    """From the file through the run to the predictor, on the pixels the model itself would have seen."""
    from visrec.model.import_model import import_model
    from visrec.model.predict import load_predictor

    settings = Settings(runs=str(tmp_path / "runs"), cache=tmp_path / "cache")
    run = import_model(files / name, settings, ["a", "b"], scale="0..1")
    predictor = load_predictor(run, cache=tmp_path / "cache")
    expected = net(2, "softmax").predict_on_batch(images / 255)

    assert ("done", "imported-model") == (run.status().state, run.record["kind"])
    assert (["a", "b"], SIZE) == (predictor.labels, predictor.image_size)
    np.testing.assert_allclose(predictor(images), expected, atol=1e-5)
    np.testing.assert_allclose(next(predictor.predict_stream([images])), expected, atol=1e-5)


def test_model_keras_of_the_run_keeps_the_contract(files, tmp_path, images):
    """Plain Keras loads it, and it takes 0..255 by itself."""
    import keras

    found = foreign.open_foreign(files / "m.h5", ["a", "b"], scale="-1..1")
    found.model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")

    np.testing.assert_allclose(
        again.predict_on_batch(images), net(2, "softmax").predict_on_batch(images / 127.5 - 1), atol=1e-5
    )  # fmt: skip


def test_one_sigmoid_becomes_two_columns(files, images):
    """The second class is the one it speaks for; a logit becomes a sigmoid first."""
    one = foreign.open_foreign(files / "one.keras", ["no", "yes"], scale="0..1").model.predict_on_batch(images)
    logit = foreign.open_foreign(files / "logit.keras", ["no", "yes"], scale="0..1", logits=True).model
    expected = net(1, "sigmoid").predict_on_batch(images / 255)

    np.testing.assert_allclose(one, np.concatenate([1 - expected, expected], 1), atol=1e-5)
    np.testing.assert_allclose(logit.predict_on_batch(images), one, atol=1e-5)


def test_logits_become_probabilities(files, images):
    """By softmax, in Keras as for TFLite."""
    import tensorflow as tf

    expected = net(3, "softmax").predict_on_batch(images / 255)
    wrapped = foreign.open_foreign(files / "logits.keras", list("abc"), scale="0..1", logits=True).model
    kept = tf.lite.TFLiteConverter.from_keras_model(net(3, None)).convert()

    np.testing.assert_allclose(wrapped.predict_on_batch(images), expected, atol=1e-5)
    np.testing.assert_allclose(TfliteEngine(kept, scale="0..1", logits=True)(images), expected, atol=1e-5)


def test_eight_bit_tflite_is_read_in_its_own_units(images):
    """Its input and output are whole numbers with a factor and a zero point."""
    import tensorflow as tf

    model = net(2, "softmax")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None] / 255] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8

    answers = TfliteEngine(converter.convert(), scale="0..1")(images)

    np.testing.assert_allclose(answers, model.predict_on_batch(images / 255), atol=0.03)


@pytest.mark.parametrize(
    ("name", "labels", "options", "expected"),
    [
        ("m.keras", "abc", {}, "2 outputs, and 3 class names"),
        ("m.tflite", "abc", {}, "2 outputs, and 3 class names"),
        ("one.keras", "abc", {}, "1 output, which stands for two classes"),
        ("m.keras", "ab", {"size": 64}, "images of 32 px, and --size says 64"),
        ("saved", "ab", {"size": 64}, "images of 32 px, and --size says 64"),
        ("m.keras", "ab", {"scale": "0..2"}, "scale '0..2' is not known"),
        ("m.keras", "ab", {"logits": True}, "probabilities already"),
        ("logits.keras", "abc", {}, "say so with --logits"),
        ("logit.keras", "ab", {}, "say so with --logits"),
        ("several.keras", "abc", {}, "several answers may be true"),
        ("open.keras", "ab", {}, "say with --size N"),
        ("open.tflite", "ab", {}, "say with --size N"),
        ("grey.keras", "ab", {}, "grey images"),
        ("broken.tflite", "ab", {}, "cannot be read as a TFLite model"),
        ("broken.keras", "ab", {}, "cannot be loaded as a Keras model"),
        ("empty", "ab", {}, "no saved_model.pb"),
        ("m.keras", "aa", {}, "different class names"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(files, name, labels, options, expected):
    """What came, what was expected, how to mend it."""
    with pytest.raises(InputError, match=expected):
        foreign.open_foreign(files / name, list(labels), **options)


def test_a_file_that_is_not_there_and_one_of_another_kind(files):
    """Neither needs TensorFlow to be told."""
    with pytest.raises(NotFoundError):
        foreign.open_foreign(files / "nothing.keras", ["a", "b"])
    (files / "m.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="no model file"):
        foreign.open_foreign(files / "m.onnx", ["a", "b"])


def test_size_said_for_an_open_model_is_kept(files):
    """Its wrapped form takes just that size."""
    found = foreign.open_foreign(files / "open.keras", ["a", "b"], size=48)

    assert (48, (None, 48, 48, 3)) == (found.image_size, found.model.input_shape)


def test_an_open_tflite_answers_at_the_size_that_was_said(files, tmp_path):
    """Its file says one pixel until it is told otherwise; the run remembers the size for whoever asks it later."""
    from visrec.model.import_model import import_model
    from visrec.model.predict import load_predictor

    images = np.random.default_rng(0).uniform(0, 255, (3, 48, 48, 3)).astype(np.float32)
    settings = Settings(runs=str(tmp_path / "runs"), cache=tmp_path / "cache")
    run = import_model(files / "open.tflite", settings, ["a", "b"], scale="0..1", size=48)
    predictor = load_predictor(run)

    assert (48, 48) == (run.record["image_size"], predictor.image_size)
    expected = net(2, "softmax", size=None).predict_on_batch(images / 255)
    np.testing.assert_allclose(predictor(images), expected, atol=1e-5)


def test_a_model_of_smaller_images_than_ours_answers_for_a_bucket(files, tiny_settings, tmp_path, monkeypatch, capsys):
    """What MobileNetV2 takes is no limit for another model."""
    settings = own_runs(tiny_settings, tmp_path, monkeypatch)
    command = ["import-model", str(files / "small.keras"), "--labels", "neutral,smiling", "--bucket", "tiny"]

    assert cli.run([*command, "--target", "expression", "--scale", "0..1"]) == 0, capsys.readouterr().err
    assert 20 == open_runs(settings).open("latest").record["image_size"]


@pytest.mark.parametrize("name", ["m.keras", "m.tflite"])
def test_with_a_bucket_it_is_audited_and_predicts_like_any_run(
    files, tiny_settings, tmp_path, monkeypatch, capsys, name
):
    """Import, audit, predict, export: the commands of any run, on val rows that an audit may take."""
    settings = own_runs(tiny_settings, tmp_path, monkeypatch)
    assert cli.run(["inspect", "tiny", "--json"]) == 0
    labels = ",".join(json.loads(capsys.readouterr().out)["labels"])
    command = ["import-model", str(files / name), "--labels", labels, "--bucket", "tiny", "--scale", "0..1"]
    assert cli.run([*command, "--name", "mine", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    table = open_runs(settings).open("mine").predictions()

    assert ("done", len(table)) == (made["state"], made["metrics"]["val_accuracy"]["n"])
    assert {"val"} == set(table["split"])
    assert cli.run(["audit", "mine", "--by", "race", "--json"]) == 0
    assert len(table) == json.loads(capsys.readouterr().out)["rows"]
    image = next(settings.buckets[0].glob("tiny/**/" + Path(table["file"].iloc[0]).name))
    assert cli.run(["predict", "mine", str(image), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)[0]
    assert table["prediction"].iloc[0] == answer["prediction"]
    assert cli.run(["export", "mine", "--format", "tflite", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "model.tflite").is_file()


def test_classes_the_bucket_does_not_share_are_told_and_leave_no_run(
    files, tiny_settings, tmp_path, monkeypatch, capsys
):
    """A run whose every answer is wrong by its name alone helps nobody."""
    settings = own_runs(tiny_settings, tmp_path, monkeypatch)

    assert cli.run(["import-model", str(files / "m.keras"), "--labels", "cat,dog", "--bucket", "tiny"]) == 2
    assert "not among the model's: cat, dog" in capsys.readouterr().err
    assert [] == open_runs(settings).ids()


def test_without_a_bucket_the_run_says_why_it_has_no_predictions(files, tiny_settings, tmp_path, monkeypatch, capsys):
    """And how to get them."""
    own_runs(tiny_settings, tmp_path, monkeypatch)
    assert cli.run(["import-model", str(files / "m.keras"), "--labels", "a,b"]) == 0

    assert cli.run(["audit", "latest", "--by", "race"]) == 2
    assert "--bucket" in capsys.readouterr().err


def test_a_scale_that_starts_with_a_minus_is_a_value():
    """As the help writes it, with a blank or with an equals sign."""
    for words in (["--scale", "-1..1"], ["--scale=-1..1"]):
        args = cli.build_parser().parse_args(["import-model", "m.keras", "--labels", "a,b", *words])

        assert "-1..1" == args.scale


@pytest.mark.parametrize(("shape", "hint"), [((1, 3, 8, 8), "channels first"), ((1, 8, 9, 3), "side"), ((1, 9), "RGB")])
def test_inputs_that_are_no_square_rgb_image_are_refused(shape, hint):
    """With what came."""
    with pytest.raises(InputError, match=hint):
        square_side(shape)


def test_logits_far_from_zero_stay_finite():
    """Neither a sigmoid nor a softmax may overflow."""
    values = np.float32([[-1000.0], [1000.0]])
    many = to_probabilities(np.float32([[1000.0, 0.0, -1000.0]]), logits=True)

    assert [[1.0, 0.0], [0.0, 1.0]] == to_probabilities(values, logits=True).tolist()
    assert [[1.0, 0.0, 0.0]] == many.tolist()
