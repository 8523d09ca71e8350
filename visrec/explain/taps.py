"""Taps: a network's features, and the feature maps on the way to them, as the outputs of one model.

A tap is the last feature map of a resolution, averaged on a grid of about 4 x 4: fine ones see texture, coarse ones
parts and where they are. The coarsest is left out, as the features themselves are made of it.
"""

from typing import TYPE_CHECKING

from visrec.errors import InputError

if TYPE_CHECKING:
    import keras

PLACES = 4


def tapped(model: "keras.Model") -> tuple["keras.Model", list[int]]:
    """A model that answers with features and taps side by side, and how wide each of them is.

    Parameters
    ----------
    model : Keras model (n, s, s, 3) -> classes, its network flat or nested once

    Returns
    -------
    keras.Model, list of int
        float32 (n, sum of widths); the first width is the features'
    """
    import keras

    parts = [features(model), *(_on_grid(tap) for tap in taps(model))]
    return keras.Model(model.inputs, keras.layers.Concatenate()(parts)), [int(p.shape[-1]) for p in parts]


def features(model: "keras.Model"):
    """The tensor that the last dense layer reads, (n, d)."""
    import keras

    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense or len(dense[-1].input.shape) != 2:
        raise InputError("The network does not end in a dense layer, so there are no features to compare images by.")
    return dense[-1].input


def taps(model: "keras.Model") -> list:
    """The last feature map of each resolution but the coarsest, finest first: tensors (n, h, w, c)."""
    import keras

    nested = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    owner = nested or model
    found = {}
    for layer in owner.layers:
        shape = getattr(layer.output, "shape", ())
        if isinstance(layer, keras.layers.ZeroPadding2D):  # its side is no resolution, only a rim
            continue
        if len(shape) == 4 and shape[1] and PLACES <= shape[1] < model.input_shape[1]:
            found[shape[1]] = layer.output
    maps = [found[side] for side in sorted(found, reverse=True)][: -1 if len(found) > 1 else None]
    if nested is None or not maps:
        return maps
    entered = _entered(model, nested)
    inner = keras.Model(nested.inputs, maps)(entered)
    return list(inner) if isinstance(inner, list | tuple) else [inner]


def _entered(model: "keras.Model", nested: "keras.Model"):
    """The tensor with which the outer model enters the nested one; of two, the image that is not turned."""
    calls = [node for nodes in model._nodes_by_depth.values() for node in nodes if node.operation is nested]
    tensors = [node.input_tensors[0] for node in calls]
    return next((t for t in tensors if type(t._keras_history.operation).__name__ != "Flip"), tensors[0])


def _on_grid(tap):
    import keras

    window = -(-int(tap.shape[1]) // PLACES)
    return keras.layers.Flatten()(keras.layers.AveragePooling2D(window)(tap))
