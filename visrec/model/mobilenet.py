"""MobileNetV2 as visrec uses it: pixels 0..255 in, probabilities out, with its scaling inside.

Source: Sandler et al. (2018), MobileNetV2: Inverted Residuals and Linear Bottlenecks, https://arxiv.org/abs/1801.04381.
The trap of this network: its weights expect pixels in [-1, 1], and its BatchNorm layers a momentum of 0.999, with
which a few hundred steps of fine-tuning leave the moving averages behind; both are dealt with here.
"""

import contextlib
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError, OutsideError

if TYPE_CHECKING:
    import keras
    import numpy as np

ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
SIZES = (96, 128, 160, 192, 224)
MIN_SIZE, MAX_SIZE = 32, 512
BATCH_NORM_MOMENTUM = 0.9
BACKBONE, HEAD, POOLED, DROPPED = "backbone", "probabilities", "pooled", "dropout"
TAPS = ("deep", "spatial", "both")
SPATIAL_LAYER = "block_12_add"
GRID = 7
_PLACE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
_NAME = re.compile(r"kernels_(\d+(?:\.\d+)?)_(\d+)")
DOWNLOAD_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Weights:
    """The weights a backbone begins with: a local file, or None for random ones, and a note on where they are from."""

    path: Path | None
    note: str
    wanted: bool = True
    """False when random weights stand in for ImageNet's, which could not be had."""


def find_weights(
    weights: str, alpha: float, size: int, *, keras_home: Path | None = None, allow_random: bool = False
) -> Weights:
    """Find, or download, the weights that a run asked for.

    Parameters
    ----------
    weights : ``imagenet``, ``none`` or the path of a ``.h5``/``.keras`` weights file without its top
    alpha : width, one of `ALPHAS` for ImageNet weights
    size : side of the images in pixels
    allow_random : go on from random weights when ImageNet weights cannot be had

    Raises
    ------
    InputError
        No such file, or no ImageNet weights of that width exist.
    OutsideError
        ImageNet weights could not be downloaded and random ones were not allowed.
    """
    if weights == "none":
        return Weights(None, "Random initial weights, as asked.")
    if weights != "imagenet":
        return _file_weights(Path(weights))
    if alpha not in ALPHAS:
        raise InputError(
            f"There are no ImageNet weights of width {alpha}; expected one of {', '.join(map(str, ALPHAS))}, "
            "or weights 'none' or a file."
        )
    try:
        path = _imagenet_file(alpha, size, keras_home)
    except OSError as error:
        return _without_imagenet(error, alpha, size, allow_random)
    return Weights(path, f"ImageNet weights ({path.name}).")


def alpha_of(weights: str | None) -> float | None:
    """The width that a weights file names in its own name, None if it does not.

    >>> alpha_of("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5")
    0.35
    """
    found = _NAME.search(Path(weights).name) if weights else None
    return float(found[1]) if found else None


def build(
    size: int,
    labels: int,
    alpha: float,
    *,
    weights: Weights,
    taps: str = "deep",
    seed: int = 0,
    dropout: float = 0.2,
    mirror: bool = False,
) -> "keras.Model":
    """A classifier, not yet compiled, whose head is all zero (every class equally likely).

    Parameters
    ----------
    taps : which features the head sees, one of `TAPS`: ``deep`` = the last layer, averaged over the image (what a
        thing is); ``spatial`` = the twelfth block on a grid of about 7 x 7 (where its parts are); ``both``
    mirror : answer from the mean of two feature maps: the image's, and its mirror image's turned back. Test-time
        augmentation (Krizhevsky et al. 2012, who averaged over reflections), made part of the model so that whoever
        loads it gets the same answers. Each costs two passes; the weights are the same. Only with ``deep`` features

    Returns
    -------
    keras.Model
        float32 (n, size, size, 3) RGB in 0..255 -> float32 (n, labels) probabilities that sum to 1.
    """
    import keras

    inputs = keras.Input((size, size, 3), dtype="float32", name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(inputs)
    backbone = _backbone(size, alpha, weights, taps, seed)
    found = backbone(scaled)
    if mirror:
        turned = keras.ops.flip(backbone(keras.ops.flip(scaled, axis=2)), axis=2)
        found = keras.layers.Average(name="both_sides")([found, turned])
    pooled = _pool(found, taps)
    dropped = keras.layers.Dropout(dropout, seed=seed, name=DROPPED)(pooled)
    outputs = keras.layers.Dense(
        labels, activation="softmax", kernel_initializer="zeros", name=HEAD, dtype="float32"
    )(dropped)  # fmt: skip
    return keras.Model(inputs, outputs, name="visrec")


def deep_width(model: "keras.Model") -> int:
    """How many of the features of a model built with both taps are the deep ones; they come first."""
    return int(model.get_layer("deep").output.shape[-1])


def feature_model(model: "keras.Model") -> "keras.Model":
    """The part of a model up to its features: (n, size, size, 3) -> float32 (n, width)."""
    import keras

    return keras.Model(model.inputs, model.get_layer(POOLED).output, name="features")


def set_head(model: "keras.Model", kernel: "np.ndarray", bias: "np.ndarray") -> None:
    """Put a fitted linear head, kernel (width, labels) and bias (labels,), into a model."""
    model.get_layer(HEAD).set_weights([kernel.astype("float32"), bias.astype("float32")])


def batch_norms(model: "keras.Model") -> list:
    """Every BatchNormalization layer, those of the nested backbone as well."""
    import keras

    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else model.layers
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def _backbone(size: int, alpha: float, weights: Weights, taps: str, seed: int) -> "keras.Model":
    import keras

    if not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError(f"The image size is {size} px; expected {MIN_SIZE} to {MAX_SIZE}.")
    whole = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=alpha, include_top=False, weights=None, name="mobilenet_v2"
    )  # fmt: skip
    if weights.path is None:
        _seeded_weights(whole, seed)
    else:
        _load(whole, weights.path, alpha)
    for layer in batch_norms(whole):
        layer.momentum = BATCH_NORM_MOMENTUM
    grid = whole.get_layer(SPATIAL_LAYER).output
    outputs = {"deep": whole.output, "spatial": grid, "both": [whole.output, grid]}[taps]
    return keras.Model(whole.inputs, outputs, name=BACKBONE)


def _pool(found, taps: str):
    """The feature vector: the average of the last layer, the grid of the middle one, or both, in this order."""
    import keras

    deep, grid = {"deep": (found, None), "spatial": (None, found), "both": found}[taps]
    parts = []
    if deep is not None:
        parts.append(keras.layers.GlobalAveragePooling2D(name="deep" if taps == "both" else POOLED)(deep))
    if grid is not None:
        step = max(1, round(int(grid.shape[1]) / GRID))
        coarse = keras.layers.AveragePooling2D(step, step, name="coarse")(grid)
        parts.append(keras.layers.Flatten(name="spatial" if taps == "both" else POOLED)(coarse))
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name=POOLED)(parts)


def _seeded_weights(backbone: "keras.Model", seed: int) -> None:
    """Draw each kernel anew (He, normal) from a generator of our own: same seed, same weights, on every backend."""
    import numpy as np

    draw = np.random.default_rng(seed)
    for layer in backbone.layers:
        values = layer.get_weights()
        if values and values[0].ndim == 4:
            shape = values[0].shape
            inputs = shape[0] * shape[1] * (1 if "depthwise" in layer.name else shape[2])
            kernel = draw.normal(0.0, (2.0 / inputs) ** 0.5, shape).astype("float32")
            layer.set_weights([kernel, *values[1:]])


def _load(backbone: "keras.Model", path: Path, alpha: float) -> None:
    try:
        backbone.load_weights(str(path))
    except Exception as error:  # Keras raises many kinds here, all of them mean the same to the user
        named = alpha_of(str(path))
        told = f"its name says width {named}, " if named else ""
        raise InputError(
            f"The weights file '{path.name}' does not fit MobileNetV2 of width {alpha} ({told}{_first_line(error)}). "
            "Expected a weights file without its top; give --alpha as in the file."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _file_weights(path: Path) -> Weights:
    if not path.is_file():
        raise InputError(f"There is no weights file '{path}'. Expected 'imagenet', 'none' or the path of a .h5 file.")
    if path.suffix not in (".h5", ".keras", ".hdf5") and not path.name.endswith(".weights.h5"):
        raise InputError(f"'{path.name}' is not a weights file; expected one that ends in .h5.")
    return Weights(path, f"Weights from {path.name}.")


def _imagenet_file(alpha: float, size: int, keras_home: Path | None) -> Path:
    """A kept file first (best the one of this size), else a download."""
    home = keras_home or Path.home() / ".keras"
    nearest_first = sorted(SIZES, key=lambda s: (abs(s - size), -s))
    for side in nearest_first:
        if (path := home / "models" / _file_name(alpha, side)).is_file():
            return path
    return _download(_file_name(alpha, nearest_first[0]), home)


def _file_name(alpha: float, size: int) -> str:
    width = f"{alpha:.1f}" if alpha != 0.35 and alpha != 0.75 else str(alpha)
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{size}_no_top.h5"


def _download(name: str, home: Path) -> Path:
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras says there what it downloads; stdout is for the result
            return Path(keras.utils.get_file(name, _PLACE + name, cache_subdir="models", cache_dir=str(home)))
    except Exception as error:  # get_file wraps every network fault in a bare Exception
        raise OSError(_first_line(error)) from error
    finally:
        socket.setdefaulttimeout(before)


def _without_imagenet(error: OSError, alpha: float, size: int, allow_random: bool) -> Weights:
    what = f"The ImageNet weights of MobileNetV2 (width {alpha}, {size} px) could not be downloaded ({error})."
    if allow_random:
        return Weights(None, f"{what} Went on from random weights, as allowed.", wanted=False)
    raise OutsideError(
        f"{what} Put the file {_file_name(alpha, 224)} into ~/.keras/models (or KERAS_HOME/models), "
        "or give its path as --weights, or allow random ones with --allow-random-weights."
    )
