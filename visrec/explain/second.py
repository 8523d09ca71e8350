"""A second opinion: other ways of asking where a model looks, to lay beside LIME.

An *attribution* is a map with one value per pixel: how much it speaks for a class. Occlusion needs nothing but the
model's answers; Grad-CAM reads the last feature maps; Integrated Gradients follows the slope. Where several agree, a
superpixel's weight is less likely to be the method's own invention; where they differ, none is proven wrong.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visrec.errors import InputError
from visrec.explain.lime_image import Explanation, Predict, Progress, Stop, ask, check_image
from visrec.explain.masking import Masker, fill_image

if TYPE_CHECKING:
    import keras

METHODS = {
    "occlusion": "a grey window slides over the image; how much the answer drops",
    "grad_cam": "the last feature maps, weighted by the class's head; coarse",
    "integrated_gradients": "slopes summed along the way from a blurred image; fine and noisy",
}


@dataclass(frozen=True)
class Attribution:
    """One map for one class.

    Attributes
    ----------
    values : float64 (h, w); positive supports the class, negative opposes it; units differ between methods
    label : the class
    method : a key of `METHODS`, or ``superpixel_occlusion``
    seconds : wall time
    """

    values: np.ndarray
    label: int
    method: str
    seconds: float


def occlude_superpixels(
    image: np.ndarray,
    predict: Predict,
    explanation: Explanation,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> np.ndarray:
    """How much each class's probability drops when one superpixel alone is hidden.

    Parameters
    ----------
    image : uint8 (h, w, 3), the one that was explained
    explanation : gives superpixels and fill

    Returns
    -------
    float64 (k, n_segments); positive: the superpixel supports the class

    Notes
    -----
    Says nothing of what superpixels do together: when either of two would suffice, hiding one changes nothing.
    """
    segments, n = explanation.segments, explanation.n_segments
    masker = Masker(image, fill_image(image, segments, explanation.fill), segments)
    switches = np.vstack([np.ones((1, n), int), 1 - np.eye(n, dtype=int)])
    answers = ask(masker, switches, predict, progress=progress, stop=stop).astype(np.float64)
    return (answers[0] - answers[1:]).T


def occlusion(
    image: np.ndarray,
    predict: Predict,
    label: int,
    *,
    window: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Attribution:
    """Slide a grey window over the image and note how much the class's probability drops.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    window, stride : side of the window and its step in pixels; None = a fifth of the image and half the window

    Returns
    -------
    Attribution
        Each pixel has the mean drop over the windows that cover it, in units of probability.

    References
    ----------
    Zeiler and Fergus (2014), https://arxiv.org/abs/1311.2901. It misses what is larger than the window.
    """
    check_image(image)
    started = time.perf_counter()
    height, width = image.shape[:2]
    window = window or max(4, min(height, width) // 5)
    stride = stride or max(1, window // 2)
    if window > min(height, width):
        raise InputError(f"The window is {window} px, expected at most the image's shorter side, {min(height, width)}.")
    corners = [(y, x) for y in _starts(height, window, stride) for x in _starts(width, window, stride)]

    def hidden(batch: np.ndarray) -> np.ndarray:
        images = np.repeat(image[None].astype(np.float32), len(batch), axis=0)
        for one, at in zip(images, batch, strict=True):
            if at >= 0:
                y, x = corners[at]
                one[y : y + window, x : x + window] = 127.5
        return images

    every = np.arange(-1, len(corners))  # -1: nothing hidden
    answers = ask(_Composer(hidden), every, predict, progress=progress, stop=stop)[:, label].astype(np.float64)
    total, cover = np.zeros((2, height, width))
    for (y, x), drop in zip(corners, answers[0] - answers[1:], strict=True):
        total[y : y + window, x : x + window] += drop
        cover[y : y + window, x : x + window] += 1
    return Attribution(total / cover, label, "occlusion", time.perf_counter() - started)


def grad_cam(model: "keras.Model", image: np.ndarray, label: int) -> Attribution:
    """Grad-CAM of a network whose last feature maps reach the classes linearly, as MobileNetV2's do.

    When only averaging, flattening and one dense layer come after the feature maps, the gradient of a class's logit is
    the dense layer's kernel, so Grad-CAM is a weighted sum of feature maps: one forward pass, the same on every Keras
    backend.

    Parameters
    ----------
    model : Keras model with inputs (n, h, w, 3) in 0 ... 255
    image : uint8 (h, w, 3)

    Returns
    -------
    Attribution
        In units of the logit, summing to the logit without its bias; stretched over the image bilinearly. Negative
        parts are kept, where the paper cuts them off: they oppose.

    Raises
    ------
    InputError
        The network ends differently.

    References
    ----------
    Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391; with a kernel per place it is HiResCAM, Draelos and Carin
    (2020), https://arxiv.org/abs/2011.08891. The maps are coarse (7 x 7 at 224 px), so an edge of the heat is not an
    edge of what was seen.
    """
    import keras

    check_image(image)
    started = time.perf_counter()
    parts = _linear_end(model)
    features = keras.Model(model.inputs, [maps for maps, _ in parts])
    found = features([image[None].astype(np.float32)], training=False)
    found = found if isinstance(found, list | tuple) else [found]
    values = np.zeros(image.shape[:2])
    for maps, (_, kernel) in zip(found, parts, strict=True):
        if kernel.shape[-1] == 1:  # a lone sigmoid: its logit speaks for class 1 and against class 0
            kernel = np.concatenate([-kernel, kernel], axis=-1) / 2
        coarse = (np.asarray(maps, np.float64)[0] * kernel[..., label]).sum(axis=-1)
        values += _stretch_smoothly(coarse, image.shape[:2])
    return Attribution(values, label, "grad_cam", time.perf_counter() - started)


def integrated_gradients(
    model: "keras.Model",
    image: np.ndarray,
    label: int,
    *,
    steps: int = 32,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Attribution:
    """Slopes of the class's probability summed along the straight way from a blurred copy to the image.

    Parameters
    ----------
    model : Keras model with inputs (n, h, w, 3) in 0 ... 255; needs the TensorFlow backend
    image : uint8 (h, w, 3)
    steps : points on the way (midpoint rule)
    progress : called with (points done, points in all)

    Returns
    -------
    Attribution
        Values sum to the difference of the two answers, up to the error of the sum (completeness).

    References
    ----------
    Sundararajan, Taly, Yan (2017), https://arxiv.org/abs/1703.01365. The map depends on what it starts from; a
    blurred copy keeps colour, where black would make dark pixels look unimportant.
    """
    check_image(image)
    started = time.perf_counter()
    end = image.astype(np.float32)
    start = fill_image(image, np.zeros(image.shape[:2], int), "blur").astype(np.float32)
    at = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    total = np.zeros(image.shape)
    for first in range(0, steps, batch_size):
        share = at[first : first + batch_size, None, None, None]
        total += _slopes(model, start + share * (end - start), label).sum(axis=0)
        if progress is not None:
            progress(min(steps, first + batch_size), steps)
    values = ((end - start) * total / steps).sum(axis=-1)
    return Attribution(values, label, "integrated_gradients", time.perf_counter() - started)


def by_superpixel(values: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """A pixel map summed over superpixels, to compare it with their weights: float64 (n,).

    >>> by_superpixel(np.array([[1.0, 2.0, 4.0]]), np.array([[0, 0, 1]])).tolist()
    [3.0, 4.0]
    """
    return np.bincount(segments.ravel(), values.ravel())


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin, so that the last one ends at the border.

    >>> _starts(10, 4, 4)
    [0, 4, 6]
    """
    return sorted({*range(0, length - window + 1, stride), length - window})


@dataclass(frozen=True)
class _Composer:
    """Stands where `Masker` stands, so that all methods share one loop, its checks and its cancelling."""

    compose: Callable[[np.ndarray], np.ndarray]


def _linear_end(model: "keras.Model") -> list[tuple]:
    """The feature maps that a dense head reads, each with what a class makes of it.

    Returns
    -------
    list of (Keras tensor (n, h, w, c), float64 kernel (h or 1, w or 1, c, k))
    """
    import keras

    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense or len(dense) > 1:
        raise InputError(_other_ending(model))
    return _followed(model, dense[0].input, np.asarray(dense[0].kernel, np.float64))


def _followed(model, tensor, kernel: np.ndarray) -> list[tuple]:
    """Go from a head's input back to feature maps, through layers that only move or average values."""
    import keras

    layer = tensor._keras_history.operation
    if isinstance(layer, keras.layers.Dropout):
        return _followed(model, layer.input, kernel)
    if isinstance(layer, keras.layers.Concatenate):
        ends = np.cumsum([part.shape[-1] for part in layer.input])[:-1]
        pieces = np.split(kernel, ends)
        return [found for p, k in zip(layer.input, pieces, strict=True) for found in _followed(model, p, k)]
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        height, width = layer.input.shape[1:3]
        return [(layer.input, kernel[None, None] / (height * width))]
    if isinstance(layer, keras.layers.Flatten) and len(layer.input.shape) == 4:
        return [(layer.input, kernel.reshape(*layer.input.shape[1:], -1))]
    raise InputError(_other_ending(model))


def _other_ending(model) -> str:
    return (
        "Grad-CAM here needs a network whose feature maps reach one dense layer through averaging or flattening only; "
        f"this one ends in {', '.join(type(layer).__name__ for layer in model.layers[-3:])}. "
        "Ask for integrated_gradients or occlusion instead."
    )


def _slopes(model: "keras.Model", images: np.ndarray, label: int) -> np.ndarray:
    """Gradient of the class's probability with respect to the pixels: float64 (n, h, w, 3)."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Integrated Gradients needs Keras on TensorFlow, it runs on {keras.backend.backend()}. "
            "Ask for grad_cam or occlusion, or set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    pixels = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        answer = model(pixels, training=False)
        chosen = answer[:, label] if answer.shape[1] > 1 else (answer[:, 0] if label == 1 else 1 - answer[:, 0])
    return np.asarray(tape.gradient(chosen, pixels), np.float64)


def _stretch_smoothly(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear, and rescaled so that the sum stays what it was."""
    from PIL import Image

    size = (shape[1], shape[0])
    fine = np.asarray(Image.fromarray(coarse.astype(np.float32)).resize(size, Image.Resampling.BILINEAR), np.float64)
    return fine * (coarse.size / fine.size)
