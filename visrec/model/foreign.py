"""Foreign models: a file trained elsewhere, opened, checked and brought into the form of every run's model.

Keras files are wrapped so that they take 0..255 and answer with probabilities; a SavedModel cannot be wrapped in plain
Keras 3 and becomes a TFLite file, checked against the original; a TFLite file stays as it is.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError, NotFoundError
from visrec.model.safety import refuse_code
from visrec.model.tflite import SCALES, TfliteEngine, square_side

if TYPE_CHECKING:
    import keras
    import numpy as np

PROBES = 8
"""So many random images are shown to a model to see what its outputs are."""


@dataclass(frozen=True)
class Foreign:
    """A model brought along: either a Keras model in the contract's form, or the bytes of a TFLite file.

    Attributes
    ----------
    image_size : side in pixels of the images it takes
    model : takes float32 0..255, answers with probabilities; None for TFLite
    tflite : the file, unchanged; None for Keras
    """

    image_size: int
    model: "keras.Model | None" = None
    tflite: bytes | None = None


def open_foreign(
    path: Path, labels: Sequence[str], *, scale: str = "0..255", size: int | None = None, logits: bool = False
) -> Foreign:
    """Open a ``.keras``, ``.h5`` or ``.tflite`` file, a SavedModel folder or a zip of one; never runs its code.

    Parameters
    ----------
    labels : class names in the order of the outputs; for one sigmoid the second is the one it speaks for
    scale : pixel range the model takes: ``0..255``, ``0..1`` or ``-1..1``
    size : side of its images, where the file leaves it open
    logits : its outputs are logits, to be made probabilities

    Raises
    ------
    InputError
        With what came and what was expected: another kind of file, other inputs, another number of classes, outputs
        that are no probabilities.
    """
    if scale not in SCALES:
        raise InputError(f"The scale '{scale}' is not known; expected {', '.join(SCALES)}.")
    if len(labels) < 2 or len(set(labels)) != len(labels) or not all(labels):
        raise InputError(f"Expected two or more different class names; got {', '.join(labels) or 'none'}.")
    if not path.exists():
        raise NotFoundError(f"There is no model '{path}'.")
    if path.suffix == ".zip":
        with tempfile.TemporaryDirectory(prefix="visrec-") as scratch:
            folder = unpacked(path, Path(scratch))
            return open_foreign(folder, labels, scale=scale, size=size, logits=logits)
    refuse_code(path)
    if path.is_dir():
        return _tflite(_saved_model(path, size, labels), labels, scale, size, logits, path.name)
    if path.suffix == ".tflite":
        return _tflite(path.read_bytes(), labels, scale, size, logits, path.name)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return _keras(path, labels, scale, size, logits)
    raise InputError(
        f"'{path.name}' is no model file; expected .keras, .h5, .tflite, a SavedModel folder or a zip of one."
    )


def unpacked(archive: Path, scratch: Path) -> Path:
    """The SavedModel folder of a zip, unpacked below ``scratch``; raises ``InputError`` when there is not one."""
    from visrec.storage.unpack import Limits, unpack

    unpack(archive, scratch, limits=Limits(total=5_000_000_000, files=2_000))
    found = [p.parent for p in scratch.rglob("saved_model.pb")]
    if len(found) != 1:
        raise InputError(
            f"'{archive.name}' holds {len(found)} saved_model.pb; expected the zip of one SavedModel folder."
        )
    return found[0]


def _tflite(data: bytes, labels, scale: str, size: int | None, logits: bool, name: str) -> Foreign:
    raw = TfliteEngine(data, scale=scale, probabilities=False, size=size)
    check_size(size, raw.image_size)
    check_classes(raw.outputs, labels)
    check_outputs(raw(_probes(raw.image_size)), logits, name)
    return Foreign(raw.image_size, tflite=data)


def _keras(path: Path, labels, scale: str, size: int | None, logits: bool) -> Foreign:
    import numpy as np

    from visrec.model.predict import load_keras

    inner = load_keras(path)
    if len(inner.inputs or [0]) != 1 or len(inner.outputs or [0]) != 1:
        raise InputError(f"'{path.name}' has several inputs or outputs; expected one image in, one row of scores out.")
    side = _side_of(inner, size, path.name)
    raw = _wrapped(inner, side, scale)
    shape = tuple(raw.output_shape)
    if len(shape) != 2 or shape[1] is None:
        raise InputError(f"'{path.name}' answers with shape {shape}; expected one row of class scores per image.")
    check_classes(shape[1], labels)
    linear = getattr(getattr(inner.layers[-1], "activation", None), "__name__", "") == "linear"
    values = np.asarray(raw.predict_on_batch(_probes(side)))
    check_outputs(values, logits, path.name, linear=linear and shape[1] == 1)
    return Foreign(side, model=_finished(raw, shape[1], logits))


def _side_of(model: "keras.Model", size: int | None, name: str) -> int:
    try:
        side = square_side(tuple(model.input_shape))
    except AttributeError:  # a model that was never built leaves its input open
        side = None
    check_size(size, side)
    if not (side or size):
        raise InputError(f"'{name}' takes images of any size; say with --size N which one it was trained on.")
    return side or size


def _wrapped(inner: "keras.Model", side: int, scale: str) -> "keras.Model":
    import keras

    factor, offset = SCALES[scale]
    image = keras.Input((side, side, 3), dtype="float32", name="image")
    pixels = image if scale == "0..255" else keras.layers.Rescaling(factor, offset, name="visrec_scale")(image)
    return keras.Model(image, inner(pixels))


def _finished(raw: "keras.Model", outputs: int, logits: bool) -> "keras.Model":
    """The model with probabilities of every class as its outputs; plain layers only, so that any Keras loads it."""
    import keras

    answer = raw.output
    if outputs == 1:
        answer = keras.layers.Activation("sigmoid", dtype="float32")(answer) if logits else answer
        other = keras.layers.Rescaling(-1.0, 1.0, dtype="float32", name="visrec_other")(answer)
        answer = keras.layers.Concatenate(name="visrec_probabilities", dtype="float32")([other, answer])
    elif logits:
        answer = keras.layers.Activation("softmax", dtype="float32", name="visrec_probabilities")(answer)
    return keras.Model(raw.input, answer, name="imported")


def _saved_model(folder: Path, size: int | None, labels: Sequence[str]) -> bytes:
    """A SavedModel's image-to-scores signature as TFLite float32, equal to it within 1e-4."""
    import numpy as np

    if not (folder / "saved_model.pb").is_file():
        raise InputError(f"The folder '{folder.name}' holds no saved_model.pb; expected a SavedModel.")
    from visrec.model import device

    device.make_ready(cpu_only=True)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signature, given, answer, side = _signature(loaded, folder.name, size, len(labels))
    function = tf.function(lambda image: signature(**{given: image})[answer])
    concrete = function.get_concrete_function(tf.TensorSpec((1, side, side, 3), tf.float32, name="image"))
    try:
        data = tf.lite.TFLiteConverter.from_concrete_functions([concrete], loaded).convert()
    except Exception as error:  # the converter raises many kinds, all of them mean the same to the user
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise InputError(
            f"'{folder.name}' cannot be converted ({first}). Save the model as .keras or .tflite where it was trained."
        ) from error
    pixels = _probes(side)[-1:]
    expected = np.asarray(function(tf.constant(pixels)))
    apart = np.abs(TfliteEngine(data, probabilities=False)(pixels) - expected).max()
    if not apart <= 1e-4 * max(1.0, np.abs(expected).max()):
        raise InputError(f"'{folder.name}' answers differently after conversion (by {apart:.2g}); use .keras instead.")
    return data


def _signature(loaded, name: str, size: int | None, classes: int) -> tuple:
    """The signature that takes one float image, its input's and its output's name, and the side."""
    import tensorflow as tf

    for signature in loaded.signatures.values():
        inputs = signature.structured_input_signature[1]
        scores = {k: v for k, v in signature.structured_outputs.items() if v.dtype.is_floating and v.shape.rank == 2}
        if len(inputs) != 1 or not scores:
            continue
        given, spec = next(iter(inputs.items()))
        if spec.dtype != tf.float32 or spec.shape.rank != 4:
            continue
        side = square_side(tuple(spec.shape.as_list()))
        check_size(size, side)
        if not (side or size):
            raise InputError(f"'{name}' takes images of any size; say with --size N which one it was trained on.")
        fitting = [k for k, v in scores.items() if v.shape[1] in (classes, 1)]
        return signature, given, (fitting or list(scores))[0], side or size
    known = ", ".join(loaded.signatures) or "none"
    raise InputError(
        f"'{name}' has no signature that takes float32 images (n, side, side, 3) and gives scores; it has: {known}. "
        "Export it with one, or use the .keras file."
    )


def check_size(asked: int | None, found: int | None) -> None:
    """Raise ``InputError`` when the file fixes another size than was said."""
    if asked and found and asked != found:
        raise InputError(f"The model takes images of {found} px, and --size says {asked}; leave --size out.")


def check_classes(outputs: int, labels: Sequence[str]) -> None:
    """Raise ``InputError`` when outputs and class names do not go together; one output speaks for two classes."""
    if max(2, outputs) != len(labels):
        one = ", which stands for two classes" if outputs == 1 else ""
        raise InputError(
            f"The model has {outputs} output{'s' * (outputs != 1)}{one}, and {len(labels)} class names were given "
            f"({', '.join(labels)}); give one name per class with --labels, in the order of the outputs."
        )


def check_outputs(values: "np.ndarray", logits: bool, name: str, *, linear: bool = False) -> None:
    """Raise ``InputError`` when outputs are not what was said: probabilities, or logits.

    Parameters
    ----------
    values : raw outputs (n, k) on random images
    linear : the last layer is known to be linear, so that one output in 0..1 is a logit all the same
    """
    import numpy as np

    if not np.isfinite(values).all():
        raise InputError(f"'{name}' answers with NaN or infinity on plain images; it cannot be used.")
    low, high, sums = float(values.min()), float(values.max()), values.sum(axis=1)
    inside = low >= -1e-3 and high <= 1 + 1e-3
    whole = values.shape[1] == 1 or bool(np.abs(sums - 1).max() < 0.02)  # 0.02: eight-bit outputs are rounded
    if logits:
        if inside and whole and values.shape[1] > 1:
            raise InputError(f"The outputs of '{name}' are probabilities already; leave --logits out.")
        return
    if not inside or linear:
        raise InputError(
            f"The outputs of '{name}' lie between {low:.3g} and {high:.3g} and are not probabilities. "
            "If they are logits (no softmax or sigmoid at the end), say so with --logits."
        )
    if not whole:
        raise InputError(
            f"The outputs of '{name}' are between 0 and 1 but add up to {sums.min():.3g} to {sums.max():.3g} instead "
            "of 1: several answers may be true at once, where one class per image is expected."
        )


def _probes(side: int) -> "np.ndarray":
    """Random images and two plain ones, float32 (n, side, side, 3) in 0..255; seeded."""
    import numpy as np

    images = np.random.default_rng(0).uniform(0, 255, (PROBES, side, side, 3)).astype(np.float32)
    images[0], images[1] = 0.0, 255.0
    return images
