"""TFLite: a model kept as the file it came in, and run through its interpreter.

The file takes pixels in a range of its own and may answer with one sigmoid, with logits or in whole numbers
(quantised); the engine here takes 0..255 and answers with probabilities, as every engine does.
"""

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError

if TYPE_CHECKING:
    import numpy as np

SCALES = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
"""What a model wants to see -> factor and offset that lead there from 0..255."""


class TfliteEngine:
    """A TFLite file as an engine.

    Parameters
    ----------
    source : path of the file, or its bytes
    scale : pixel range the model takes, a key of `SCALES`
    logits : its outputs are logits
    probabilities : False leaves the outputs as the model gives them
    size : side of its images, where the file leaves it open; one that the file fixes stays

    Raises
    ------
    InputError
        If it is no TFLite model, leaves its size open and none was said, or does not take one RGB image and give one
        row of scores.
    """

    name = "tflite"

    def __init__(
        self,
        source: "Path | bytes",
        *,
        scale: str = "0..255",
        logits: bool = False,
        probabilities: bool = True,
        size: int | None = None,
    ):
        from visrec.model import device

        device.make_ready(cpu_only=True)
        import tensorflow as tf

        data = source.read_bytes() if isinstance(source, Path) else source
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that the interpreter will move to another package
                self._interpreter = tf.lite.Interpreter(model_content=data, num_threads=device.cores())
            self._settle_size(size)
            self._interpreter.allocate_tensors()
        except InputError:
            raise
        except (ValueError, RuntimeError) as error:
            raise InputError(f"The file cannot be read as a TFLite model: {_first_line(error)}.") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                f"The model has {len(inputs)} inputs and {len(outputs)} outputs; expected one image in, one row of "
                "class scores out."
            )
        self._input, self._output = inputs[0], outputs[0]
        shape, answer = tuple(map(int, self._input["shape"])), tuple(map(int, self._output["shape"]))
        self.image_size = square_side(shape)
        if len(answer) != 2:
            raise InputError(f"The model answers with shape {answer}; expected one row of class scores per image.")
        self.batch, self.outputs = shape[0], answer[1]
        self.width = max(2, self.outputs) if probabilities else self.outputs
        self._scale, self._logits, self._finished = SCALES[scale], logits, probabilities
        self._lock = threading.Lock()  # an interpreter holds one input at a time

    def _settle_size(self, size: int | None) -> None:
        """Say how large the images are where the file leaves it open; until then their ``shape`` says one pixel."""
        details = self._interpreter.get_input_details()
        signature = [None if edge < 0 else int(edge) for edge in details[0].get("shape_signature", ())]
        if len(details) != 1 or len(signature) != 4 or None not in signature[1:3] or square_side(tuple(signature)):
            return
        if not size:
            raise InputError("The model takes images of any size; say with --size N which one it was trained on.")
        self._interpreter.resize_tensor_input(details[0]["index"], [signature[0] or 1, size, size, 3])

    def __call__(
        self, images: "np.ndarray", *, out: "np.ndarray | None" = None, progress: Callable[[int], None] | None = None
    ) -> "np.ndarray":
        """Outputs float32 (n, width) for uint8 or float32 images (n, size, size, 3) in 0..255."""
        import numpy as np

        results = np.empty((len(images), self.width), np.float32) if out is None else out
        for at in range(0, len(images), self.batch):
            part = np.asarray(images[at : at + self.batch], np.float32)
            values = self._run(part)
            results[at : at + len(part)] = to_probabilities(values, self._logits) if self._finished else values
            if progress:
                progress(at + len(part))
        return results

    def stream(self, batches: Iterable["np.ndarray"]) -> Iterator["np.ndarray"]:
        """Outputs for each batch, in order."""
        for images in batches:
            yield self(images)

    def _run(self, part: "np.ndarray") -> "np.ndarray":
        import numpy as np

        factor, offset = self._scale
        pixels = np.zeros((self.batch, *part.shape[1:]), np.float32)
        pixels[: len(part)] = part * np.float32(factor) + np.float32(offset)
        with self._lock:
            self._interpreter.set_tensor(self._input["index"], _quantised(pixels, self._input))
            self._interpreter.invoke()
            values = self._interpreter.get_tensor(self._output["index"])
        return _real(values, self._output)[: len(part)]


def square_side(shape: tuple[int | None, ...]) -> int | None:
    """Side of the images that an input shape (n, side, side, 3) stands for; None where it is open.

    >>> square_side((None, 224, 224, 3))
    224

    Raises ``InputError`` for shapes that are no square RGB image.
    """
    if len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2]:
        return shape[1]
    advice = ""
    if len(shape) == 4 and shape[1] == 3:
        advice = " It wants its channels first; save it with channels last."
    elif len(shape) == 4 and shape[3] == 1:
        advice = " It wants grey images; put a layer in front that makes grey from RGB."
    raise InputError(f"The model takes an input of shape {tuple(shape)}; expected (n, side, side, 3), RGB.{advice}")


def to_probabilities(values: "np.ndarray", logits: bool) -> "np.ndarray":
    """Outputs as probabilities of every class; one sigmoid p becomes the two columns 1 - p and p.

    >>> import numpy as np
    >>> to_probabilities(np.float32([[0.25]]), False).tolist()
    [[0.75, 0.25]]
    """
    import numpy as np

    values = np.asarray(values, np.float32)
    if values.shape[1] == 1:
        # half the logit: exp never overflows, as it would for exp(-x) at x = -100
        values = 0.5 * (1 + np.tanh(0.5 * values)) if logits else values
        return np.concatenate([1 - values, values], axis=1)
    if not logits:
        return values
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _quantised(pixels: "np.ndarray", details: dict) -> "np.ndarray":
    import numpy as np

    kind = details["dtype"]
    if np.issubdtype(kind, np.floating):
        return pixels.astype(kind)
    factor, zero = details["quantization"]
    whole = np.round(pixels / factor + zero) if factor else np.round(pixels)
    limits = np.iinfo(kind)
    return np.clip(whole, limits.min, limits.max).astype(kind)


def _real(values: "np.ndarray", details: dict) -> "np.ndarray":
    import numpy as np

    factor, zero = details["quantization"]
    if np.issubdtype(details["dtype"], np.floating) or not factor:
        return values.astype(np.float32)
    return ((values.astype(np.float32) - zero) * factor).astype(np.float32)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
