"""Models that bring code along are turned away, in a sentence, before anything of theirs runs."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from visrec.errors import InputError
from visrec.model import foreign, safety

pytestmark = pytest.mark.xdist_group("import_model")


def keras_file(path, layer: dict):
    """A ``.keras`` file as far as its configuration, with one layer deep inside it."""
    inner = {"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": {}}, layer]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [inner]}}))
    return path


@pytest.mark.parametrize("name", sorted(safety.CODE_LAYERS))
def test_a_keras_file_with_a_layer_of_code_is_refused_by_name(tmp_path, name):
    """However deep it lies; the message says which layer and what to do instead."""
    path = keras_file(tmp_path / "m.keras", {"class_name": name, "config": {"name": "trick"}})

    with pytest.raises(InputError, match=rf"{name} \('trick'\).*plain layers"):
        foreign.open_foreign(path, ["a", "b"])


def test_an_h5_file_with_a_lambda_is_refused(tmp_path):
    """The older format has no safe mode of its own."""
    import h5py

    layer = {"class_name": "Lambda", "config": {"name": "trick"}}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})

    with pytest.raises(InputError, match="Lambda"):
        foreign.open_foreign(tmp_path / "m.h5", ["a", "b"])


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.joblib"])
def test_a_pickle_is_refused_unopened(tmp_path, name):
    """Its bytes are never read: opening one runs it."""
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")

    with pytest.raises(InputError, match="runs whatever code"):
        foreign.open_foreign(tmp_path / name, ["a", "b"])


@pytest.mark.parametrize(("name", "data"), [("m.keras", b"no zip"), ("m.h5", b"no hdf5"), ("m.zip", b"no zip")])
def test_a_file_that_is_not_what_its_name_says_is_told(tmp_path, name, data):
    """A wrong ending is a common slip."""
    (tmp_path / name).write_bytes(data)

    with pytest.raises(InputError):
        foreign.open_foreign(tmp_path / name, ["a", "b"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two SavedModels: a plain one, and one that calls back into Python."""
    from visrec.model import device

    device.make_ready(cpu_only=True)
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("saved")
    spec = [tf.TensorSpec((None, 32, 32, 3), tf.float32, name="image")]

    def plain(image):
        return {"scores": tf.nn.softmax(tf.reduce_mean(image, (1, 2))[:, :2])}

    def tricky(image):
        scores = tf.numpy_function(lambda x: x[:, 0, 0, :2].astype(np.float32), [image], tf.float32)
        return {"scores": tf.ensure_shape(scores, (None, 2))}

    for name, function in {"plain": plain, "tricky": tricky}.items():
        module = tf.Module()
        module.answer = tf.function(function, input_signature=spec)
        tf.saved_model.save(module, str(folder / name), {"serving_default": module.answer})
    return folder


def test_a_saved_model_that_calls_python_is_refused(saved):
    """Found among its operations, without loading it."""
    with pytest.raises(InputError, match="PyFunc"):
        foreign.open_foreign(saved / "tricky", ["a", "b"])


def test_the_zip_of_a_saved_model_is_one(saved, tmp_path):
    """What a browser can upload: a folder, zipped, with or without a folder around it."""
    packed = shutil.make_archive(str(tmp_path / "m"), "zip", saved, "plain")
    found = foreign.open_foreign(Path(packed), ["a", "b"])

    assert 32 == found.image_size
    assert found.tflite


def test_a_zip_with_two_models_is_refused(saved, tmp_path):
    """Which of them was meant, nobody knows."""
    packed = shutil.make_archive(str(tmp_path / "two"), "zip", saved)

    with pytest.raises(InputError, match="holds 2 saved_model"):
        foreign.open_foreign(Path(packed), ["a", "b"])
