"""Export: a trained model as others take it, a SavedModel that answers to encoded image bytes.

``model/saved_model.pb`` has two signatures: ``serving_default`` takes the bytes of image files (JPEG, PNG, GIF or
BMP), ``pixels`` takes float32 RGB 0..255. Limit: TensorFlow does not turn an image by its EXIF orientation.
"""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError
from visrec.model import engine
from visrec.runs.record import Run

if TYPE_CHECKING:
    import keras

LABELS = "labels.txt"
WRITTEN = {
    LABELS, "model.keras", "model.tflite", "saved_model.pb", "fingerprint.pb", "variables", "assets",
}  # fmt: skip
"""What an export may leave in its folder."""


def save(run: Run, model: "keras.Model", labels: Sequence[str], fit: str = "stretch", forward=None) -> None:
    """Write ``model.keras``, ``labels.txt`` and ``model/`` of a run; ``forward`` as in `write_saved_model`."""
    with tempfile.TemporaryDirectory(prefix="visrec-") as scratch:
        path = Path(scratch) / "model.keras"
        model.save(path)
        run.store.write("model.keras", path.read_bytes())
        folder = Path(scratch) / "model"
        if write_saved_model(model, folder, labels, fit, forward):
            run.put_folder(folder, "model", last="saved_model.pb")
    run.store.write(LABELS, _lines(labels))


def write_saved_model(
    model: "keras.Model", folder: Path, labels: Sequence[str], fit: str = "stretch", forward=None
) -> bool:
    """Write a SavedModel with `labels.txt`; False when Keras does not run on TensorFlow, which alone can.

    ``fit`` is that of the training: the signature of bytes makes its squares the same way. ``forward`` is
    `visrec.model.engine.frozen` of the model, where it is at hand. Weights are constants: who wants to train on takes
    the Keras file.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    size = int(model.input_shape[1])
    names = tf.constant(list(labels))

    def answer(probabilities):
        best = tf.argmax(probabilities, axis=1)
        return {"probabilities": probabilities, "prediction": tf.gather(names, best), "labels": names}

    def first(outputs):
        return tf.nest.flatten(outputs)[0]

    def pixels_of(data):
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.ensure_shape(_square(image, size, fit), (size, size, 3))

    def from_bytes(image_bytes):
        images = tf.map_fn(pixels_of, image_bytes, fn_output_signature=tf.float32)
        return answer(first(forward(images)))

    # traced once for both signatures; Keras' own archive traces each six times and saves the layers as well
    forward = forward or engine.frozen(model)
    pixels = tf.TensorSpec([None, size, size, 3], tf.float32, name="image")
    module = tf.Module()
    plain = {"autograph": False}  # nothing here needs it, and reading the code anew takes a second
    encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
    module.from_bytes = tf.function(from_bytes, input_signature=[encoded], **plain)
    module.from_pixels = tf.function(lambda image: answer(first(forward(image))), input_signature=[pixels], **plain)
    signatures = {"serving_default": module.from_bytes, "pixels": module.from_pixels}
    tf.saved_model.save(module, str(folder), signatures)
    (folder / LABELS).write_bytes(_lines(labels))
    return True


def _square(image, size: int, fit: str):
    """`visrec.data.images.to_square` in TensorFlow: uint8 (h, w, 3) to float32 (size, size, 3), whole numbers."""
    import tensorflow as tf

    height, width = tf.shape(image)[0], tf.shape(image)[1]
    goal = (size, size)
    if fit == "crop":
        side = tf.minimum(height, width)
        image = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
    if fit == "pad":
        side = tf.maximum(height, width)
        goal = tuple(tf.maximum(1, (2 * size * edge + side) // (2 * side)) for edge in (height, width))
    resized = tf.round(tf.image.resize(tf.cast(image, tf.float32), goal, antialias=True))
    if fit == "pad":
        top, left = ((size - edge) // 2 for edge in goal)
        ends = [[top, size - goal[0] - top], [left, size - goal[1] - left], [0, 0]]
        resized = tf.pad(resized, ends, constant_values=255.0)
    return resized


def copy_out(run: Run, format: str, folder: Path) -> list[Path]:
    """Write a run's model for elsewhere: ``savedmodel``, ``keras`` or ``tflite``.

    Returns the files written; those of an earlier export of this model are replaced. Raises ``InputError`` for another
    format, a file in place of the folder, and a folder that holds other things or another model's classes.
    """
    if format not in ("savedmodel", "keras", "tflite"):
        raise InputError(f"The format '{format}' is not known; expected savedmodel, keras or tflite.")
    if (kept := run.record.get("tflite")) and format != "tflite":
        raise InputError(f"Run '{run.id}' was imported as TFLite and cannot become {format}; ask for --format tflite.")
    _check_folder(folder, _lines(run.labels()))
    folder.mkdir(parents=True, exist_ok=True)
    labels = folder / LABELS
    if format == "savedmodel":
        if run.has("model/saved_model.pb"):
            marks = shutil.ignore_patterns("*.etag")  # beside the files of a run that lies in a bucket
            shutil.copytree(run.local("model"), folder, dirs_exist_ok=True, ignore=marks)
        else:  # trained on another backend, which cannot write one
            _late_saved_model(run, folder)
        return [folder / "saved_model.pb", labels]
    labels.write_bytes(_lines(run.labels()))
    if format == "keras":
        goal = folder / "model.keras"
        shutil.copyfile(run.local("model.keras"), goal)
    else:
        goal = folder / "model.tflite"
        goal.write_bytes(run.local("model.tflite").read_bytes() if kept else tflite(run.local("model.keras")))
    return [goal, labels]


def _check_folder(folder: Path, labels: bytes) -> None:
    """Refuse to write among other things: whoever takes the folder for the model would take those along."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file; name a folder to write the model to, new or empty.")
    others = (
        sorted(p.name for p in folder.iterdir() if p.name not in WRITTEN and not p.name.startswith("."))
        if folder.is_dir()
        else []
    )
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise InputError(f"'{folder}' holds other things ({shown}); name a folder that is new or empty.")
    there = folder / LABELS
    if there.is_file() and there.read_bytes() != labels:
        raise InputError(f"'{folder}' holds a model of other classes; name a folder that is new or empty.")


def _late_saved_model(run: Run, folder: Path) -> None:
    from visrec.model.predict import load_keras

    if not write_saved_model(load_keras(run.local("model.keras")), folder, run.labels(), run.fit):
        raise InputError("Only Keras on TensorFlow writes a SavedModel; run this again without KERAS_BACKEND.")


def tflite(path: Path) -> bytes:
    """A Keras file as TFLite, float32; checked against Keras on random pixels before it is handed out.

    Raises ``InputError`` when the two disagree by more than 1e-4.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    model = keras.models.load_model(path, compile=False)
    size = int(model.input_shape[1])
    # frozen first: of a model inside a model the converter leaves variables behind, which nothing ever fills
    data = tf.lite.TFLiteConverter.from_concrete_functions([engine.frozen(model, batch=1)]).convert()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype(np.float32)
    apart = np.abs(run_tflite(data, pixels) - np.asarray(model.predict_on_batch(pixels))).max()
    if not apart < 1e-4:
        raise InputError(f"The TFLite model differs from the original by {apart:.2g}; it is not written.")
    return data


def run_tflite(data: bytes, pixels):
    """Probabilities of one image, float32 (1, size, size, 3), by the TFLite interpreter."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the interpreter will move to another package
        interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _lines(labels: Sequence[str]) -> bytes:
    return ("\n".join(labels) + "\n").encode()
