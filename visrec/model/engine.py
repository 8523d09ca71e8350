"""The engine: what carries out a forward pass, chosen by rule and never by timing.

On a machine without a GPU it is OpenVINO at float32 (its default, bfloat16, moves probabilities by 0.02) with a
static batch, which is two to six times as fast as ``model.predict`` and equal to it within 1e-5; with a GPU, or
where OpenVINO is not installed, it is Keras itself. An engine's files are kept in a cache, so that the next process
neither converts nor imports TensorFlow.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np

OPENVINO, KERAS = "openvino", "tensorflow"
KERAS_BATCH = 64


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees; asks the driver first, so that a plain CPU never loads TensorFlow."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return []
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices("GPU")]


def choose(*, gpu: bool | None = None, device_busy: bool = False) -> str:
    """The rule: OpenVINO on a CPU where it is installed, else TensorFlow.

    Parameters
    ----------
    gpu : whether there is a GPU; None = look
    device_busy : the GPU belongs to a training now, so use the CPU
    """
    gpu = bool(gpus()) if gpu is None else gpu
    if gpu and not device_busy:
        return KERAS
    return OPENVINO if importlib.util.find_spec("openvino") else KERAS


def static_batch(size: int) -> int:
    """Images per request: one when they are large; small ones go together, to spread the cost of a call.

    >>> static_batch(224), static_batch(96)
    (1, 4)
    """
    return 1 if size >= 128 else 4


class OpenVinoEngine:
    """A compiled OpenVINO model for images of one size.

    Parameters
    ----------
    path : the ``.xml`` that `convert` wrote
    """

    name = OPENVINO

    def __init__(self, path: Path):
        import openvino as ov

        core = ov.Core()
        model = core.read_model(str(path))
        shape = model.input(0).partial_shape
        self.image_size = shape[1].get_length()
        self.width = model.output(0).partial_shape[1].get_length()
        self.batch = static_batch(self.image_size)
        model.reshape([self.batch, self.image_size, self.image_size, 3])
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        self._compiled = core.compile_model(model, "CPU", hints)

    def __call__(
        self, images: "np.ndarray", *, out: "np.ndarray | None" = None, progress: Callable[[int], None] | None = None
    ) -> "np.ndarray":
        """Outputs float32 (n, width) for uint8 or float32 images (n, size, size, 3) in 0..255.

        ``progress`` is called with the number of images handed in so far, and may raise to stop.
        """
        import numpy as np
        import openvino as ov

        count, step = len(images), self.batch
        results = np.empty((count, self.width), np.float32) if out is None else out
        queue = ov.AsyncInferQueue(self._compiled)
        queue.set_callback(lambda request, at: _keep(results, at, request.get_output_tensor(0).data))
        for at in range(0, count, step):
            queue.start_async(_padded(images[at : at + step], step), at)
            if progress and (at // step) % 16 == 0:
                progress(at)
        queue.wait_all()
        return results

    def stream(self, batches: Iterable["np.ndarray"]) -> Iterator["np.ndarray"]:
        """Outputs for each batch, in order; a batch is composed while the ones before are computed."""
        import numpy as np
        import openvino as ov

        queue = ov.AsyncInferQueue(self._compiled)
        queue.set_callback(lambda request, goal: _keep(goal[0], goal[1], request.get_output_tensor(0).data))
        pending: np.ndarray | None = None
        for images in batches:
            result = np.empty((len(images), self.width), np.float32)
            for at in range(0, len(images), self.batch):
                queue.start_async(_padded(images[at : at + self.batch], self.batch), (result, at))
            if pending is not None:
                # requests are taken in order, so once a whole batch was queued behind it only its tail may be open
                queue.wait_all()
                yield pending
            pending = result
        queue.wait_all()
        if pending is not None:
            yield pending


class KerasEngine:
    """The Keras model itself, in batches through one compiled function; never XLA."""

    name = KERAS

    def __init__(self, model: "keras.Model"):
        self.image_size = int(model.input_shape[1])
        self.width = int(model.output_shape[-1])
        self.batch = KERAS_BATCH
        self._model = model

    def __call__(self, images, *, out=None, progress=None):
        """As `OpenVinoEngine.__call__`."""
        import numpy as np

        results = np.empty((len(images), self.width), np.float32) if out is None else out
        for at in range(0, len(images), self.batch):
            part = _padded(images[at : at + self.batch], self.batch) if len(images) > self.batch else images[at:]
            _keep(results, at, np.asarray(self._model.predict_on_batch(np.asarray(part, np.float32))))
            if progress:
                progress(at)
        return results

    def stream(self, batches):
        """As `OpenVinoEngine.stream`."""
        for images in batches:
            yield self(images)


def convert(model: "keras.Model", path: Path) -> Path:
    """Write a Keras model as an OpenVINO ``.xml`` with its ``.bin``, float32, any batch.

    Raises ``InputError`` when Keras does not run on TensorFlow, the only backend OpenVINO can read from here.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(f"OpenVINO reads TensorFlow graphs; Keras runs on {keras.backend.backend()}.")
    import openvino as ov
    import tensorflow as tf

    function = tf.function(lambda image: model(image, training=False), jit_compile=False)
    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")
    graph = ov.convert_model(function.get_concrete_function(shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(graph, str(path), compress_to_fp16=False)
    return path


def for_model(model: "keras.Model", scratch: Path, *, engine: str | None = None) -> "OpenVinoEngine | KerasEngine":
    """An engine for a Keras model in memory; ``scratch`` is a path for the ``.xml`` if one is needed."""
    import keras

    if (engine or choose()) == OPENVINO and keras.backend.backend() == "tensorflow":
        return OpenVinoEngine(convert(model, scratch))
    return KerasEngine(model)


def _padded(images: "np.ndarray", batch: int) -> "np.ndarray":
    import numpy as np

    images = np.asarray(images, np.float32)
    if len(images) == batch:
        return images
    return np.concatenate([images, np.zeros((batch - len(images), *images.shape[1:]), np.float32)])


def _keep(results: "np.ndarray", at: int, values: "np.ndarray") -> None:
    count = min(len(values), len(results) - at)
    results[at : at + count] = values[:count]
