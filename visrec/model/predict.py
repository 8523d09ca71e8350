"""Prediction: a finished model that answers to pixels, through whichever engine the rule chooses.

Everything that needs an answer (predictions, explanations, robustness, the service) comes through here, so that a
probability is the same number wherever it is shown.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError, NotFoundError
from visrec.model import caches
from visrec.runs.record import Run

if TYPE_CHECKING:
    import keras
    import numpy as np


class Predictor:
    """A model and its class names.

    Attributes
    ----------
    labels : the classes, in the order of the probabilities
    image_size : side in pixels of the images it takes
    engine : ``openvino``, ``tensorflow`` or ``tflite``
    fit : how an image becomes the square that it takes, as in training (`visrec.data.images.to_square`)
    """

    def __init__(self, engine, labels: list[str], fit: str = "stretch"):
        self._engine = engine
        self.labels = list(labels)
        self.fit = fit
        self.image_size: int = engine.image_size
        self.engine: str = engine.name
        if engine.width != len(self.labels):
            raise InputError(f"The model has {engine.width} outputs and there are {len(self.labels)} class names.")

    def __call__(self, images: "np.ndarray", *, progress=None) -> "np.ndarray":
        """Probabilities float32 (n, k) for uint8 or float32 RGB images (n, size, size, 3) in 0..255.

        ``progress`` is called with the number of images handed in so far, and may raise to stop.

        Raises ``InputError`` for images of another shape.
        """
        size = self.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (size, size, 3):
            raise InputError(f"The model takes images (n, {size}, {size}, 3); got {tuple(images.shape)}.")
        return self._engine(images, progress=progress)

    def predict_stream(self, batches: Iterable["np.ndarray"]) -> Iterator["np.ndarray"]:
        """Probabilities for each batch, in order; the next batch is composed while one is computed."""
        return self._engine.stream(batches)


def load_predictor(source: "Run | Path | str", *, device_busy: bool = False, cache: Path | None = None) -> Predictor:
    """The predictor of a run, or of a ``.keras`` file with a ``labels.txt`` beside it.

    Parameters
    ----------
    source : a run with a model, or a path
    device_busy : the GPU belongs to a training now, so use the CPU
    cache : where converted models are kept; default the ``engines`` folder of `Settings.cache`

    Raises
    ------
    NotFoundError
        If there is no model (yet).
    """
    from visrec.model import engine as engines

    if isinstance(source, Run) and (kept := source.record.get("tflite")):
        from visrec.model.tflite import TfliteEngine

        engine = TfliteEngine(
            source.local("model.tflite"), scale=kept["scale"], logits=kept["logits"], size=kept.get("size")
        )  # fmt: skip
        return Predictor(engine, source.labels(), source.fit)
    path, labels = _source(source)
    fit = source.fit if isinstance(source, Run) else "stretch"
    if engines.choose(device_busy=device_busy) == engines.OPENVINO:
        return Predictor(engines.OpenVinoEngine(_converted(path, cache)), labels, fit)
    return Predictor(engines.KerasEngine(load_keras(path, cpu_only=device_busy)), labels, fit)


def load_keras(path: Path, *, cpu_only: bool = False) -> "keras.Model":
    """A ``.keras`` file, with the GPU made ready first."""
    from visrec.model import device

    device.make_ready(cpu_only=cpu_only)
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise InputError(f"'{path.name}' cannot be loaded as a Keras model: {error}.") from error


def engine_path(model_file: Path, cache: Path | None = None) -> Path:
    """Where the converted form of a model file is kept: named by its bytes and OpenVINO's version."""
    from importlib.metadata import version

    from visrec.config import Settings

    folder = cache or Settings.load().cache / "engines"
    digest = hashlib.sha256(model_file.read_bytes()).hexdigest()[:24]
    return folder / f"{digest}-{version('openvino')}.xml"


def _converted(model_file: Path, cache: Path | None) -> Path:
    path = engine_path(model_file, cache)
    if path.is_file() and path.with_suffix(".bin").is_file():
        caches.touch(path)
        return path
    from visrec.model import engine as engines

    return keep_converted(load_keras(model_file), path, engines.convert)


def keep_converted(model: "keras.Model", path: Path, convert) -> Path:
    """Convert beside the goal, then rename, the ``.xml`` last: two processes may do so at once."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".converting-") as scratch:
        made = convert(model, Path(scratch) / path.name)
        made.with_suffix(".bin").replace(path.with_suffix(".bin"))
        made.replace(path)
    return path


def _source(source: "Run | Path | str") -> tuple[Path, list[str]]:
    if isinstance(source, Run):
        return source.local("model.keras"), source.labels()
    path = Path(source)
    if not path.is_file():
        raise NotFoundError(f"There is no model file '{path}'.")
    for labels in (path.with_name("labels.txt"), path.parent / "model" / "labels.txt"):
        if labels.is_file():
            return path, labels.read_text(encoding="utf-8").splitlines()
    raise NotFoundError(f"There is no labels.txt beside '{path}'; it names the classes, one a line.")


def predict_files(predictor: Predictor, paths: Iterable[Path]) -> Iterator[dict]:
    """Label image files one by one: ``{file, prediction, scores}``, or ``{file, error}`` for one that is no image."""
    from visrec.data.images import decode

    for path in paths:
        try:
            pixels = decode(_bytes_of(path), predictor.image_size, predictor.fit)
        except InputError as error:
            yield {"file": str(path), "error": str(error)}
            continue
        chances = predictor(pixels[None])[0]
        scores = {label: float(p) for label, p in zip(predictor.labels, chances, strict=True)}
        yield {"file": str(path), "prediction": predictor.labels[int(chances.argmax())], "scores": scores}


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"'{path}' cannot be read: {error.strerror or error}.") from error
