"""The engine: what carries out a forward pass, chosen by rule and never by timing.

On a machine without a GPU it is OpenVINO at float32 (its default, bfloat16, moves probabilities by 0.02) with a
static batch, which is two to six times as fast as ``model.predict`` and equal to it within 1e-5; with a GPU, or
where OpenVINO is not installed, it is Keras itself. An engine's files are kept in a cache, so that the next process
neither converts nor imports TensorFlow.
"""

import importlib.util
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.config import has_nvidia
from visrec.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np

OPENVINO, KERAS = "openvino", "tensorflow"
KERAS_BATCH = 64


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees; asks the driver first, so that a plain CPU never loads TensorFlow."""
    if not has_nvidia():
        return []
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices("GPU")]


def backend() -> str:
    """What Keras runs on, or will run on once it is loaded."""
    if (keras := sys.modules.get("keras")) is not None:
        return keras.backend.backend()
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def choose(*, gpu: bool | None = None, device_busy: bool = False) -> str:
    """The rule: OpenVINO on a CPU where it is installed, else Keras itself, named by what it runs on.

    OpenVINO reads TensorFlow graphs only, so Keras on another backend answers for itself.

    Parameters
    ----------
    gpu : whether there is a GPU; None = look
    device_busy : the GPU belongs to a training now, so use the CPU
    """
    if (other := backend()) != "tensorflow":
        return other
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
        # one more than run at a time, so that none of them waits while the next input is composed
        self._in_flight = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1

    def __call__(
        self, images: "np.ndarray", *, out: "np.ndarray | None" = None, progress: Callable[[int], None] | None = None
    ) -> "np.ndarray":
        """Outputs float32 (n, width) for uint8 or float32 images (n, size, size, 3) in 0..255.

        ``progress`` is called now and then with the number of images done, and may raise to stop.
        """
        import numpy as np

        results = np.empty((len(images), self.width), np.float32) if out is None else out
        parts = (_padded(images[at : at + self.batch], self.batch) for at in range(0, len(images), self.batch))
        for number, values in enumerate(self._pipeline(parts)):
            _keep(results, number * self.batch, values)
            if progress and number % 16 == 0:
                progress(min(len(results), (number + 1) * self.batch))
        return results

    def stream(self, batches: Iterable["np.ndarray"]) -> Iterator["np.ndarray"]:
        """Outputs for each batch, in order; what comes next is composed while the ones before are computed."""
        import numpy as np

        sizes: deque[int] = deque()

        def parts():
            for images in batches:
                sizes.append(len(images))
                for at in range(0, len(images), self.batch):
                    yield _padded(images[at : at + self.batch], self.batch)

        ready, filled = None, 0
        for values in self._pipeline(parts()):
            while ready is None:
                ready, filled = np.empty((sizes.popleft(), self.width), np.float32), 0
                if not len(ready):
                    yield ready
                    ready = None
            _keep(ready, filled, values)
            filled += len(values)
            if filled >= len(ready):
                yield ready
                ready = None

    def _pipeline(self, parts: Iterable["np.ndarray"]) -> Iterator["np.ndarray"]:
        """Outputs of whole parts, in order, a few in flight at a time.

        No callbacks: OpenVINO calls them from threads of its own, and one that waits for Python's lock while Python
        waits for it stops both for good. The requests belong to the call, so that several threads may share an engine.
        """
        free = [self._compiled.create_infer_request() for _ in range(self._in_flight)]
        busy: deque = deque()
        try:
            for part in parts:
                if not free:
                    yield self._answer(busy, free)
                request = free.pop()
                request.start_async({0: part}, share_inputs=True)
                busy.append((request, part))  # the part must live as long as the request reads it
            while busy:
                yield self._answer(busy, free)
        finally:
            for request, _ in busy:
                request.wait()

    @staticmethod
    def _answer(busy: deque, free: list) -> "np.ndarray":
        request, _ = busy[0]
        request.wait()
        busy.popleft()
        free.append(request)
        return request.get_output_tensor(0).data.copy()


class KerasEngine:
    """The Keras model itself, in batches through one compiled function; never XLA."""

    def __init__(self, model: "keras.Model"):
        self.name = backend()
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


def frozen(model: "keras.Model", batch: int | None = None):
    """The forward pass as a TensorFlow function, its weights constants, of ``batch`` images or any number.

    What is made of it needs no variables: a SavedModel is written in half the time, and OpenVINO reads the graph as it
    stands. The weights become constants while the pass is traced; to exchange them afterwards takes longer than all
    the rest. Traced without autograph, which plain layers have no need of.
    """
    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    pixels = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="image")
    values = [(variable, np.asarray(variable)) for variable in model.variables]

    def answer(image):
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return model(image, training=False)

    forward = tf.function(answer, autograph=False, jit_compile=False).get_concrete_function(pixels)
    # a layer may hold a variable of TensorFlow's, of which Keras does not know
    return convert_variables_to_constants_v2(forward) if forward.captured_inputs else forward


def convert(model: "keras.Model", path: Path, forward=None) -> Path:
    """Write a Keras model as an OpenVINO ``.xml`` with its ``.bin``, float32, any batch.

    ``forward`` is `frozen` of the model, where it is at hand. Raises ``InputError`` when Keras does not run on
    TensorFlow, the only backend OpenVINO can read from here.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(f"OpenVINO reads TensorFlow graphs; Keras runs on {keras.backend.backend()}.")
    import openvino as ov

    forward = forward or frozen(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    definition = path.with_suffix(".pb")
    try:
        definition.write_bytes(forward.graph.as_graph_def().SerializeToString())
        # `ov.convert_model` takes ten times as long over the same file, and its outputs are those that it is told
        graph = ov.Core().read_model(str(definition))
        answers = [graph.output(tensor.name) for tensor in forward.outputs]
        if len(answers) < len(graph.outputs):  # whatever leads nowhere has become an output as well
            graph = ov.Model([answer.get_node() for answer in answers], graph.get_parameters())
        ov.save_model(graph, str(path), compress_to_fp16=False)
    finally:
        definition.unlink(missing_ok=True)
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
