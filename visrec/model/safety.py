"""Safety: refusing a model file that would run its maker's Python code, or touch files, on being opened.

A model should be numbers and known layers. Some formats can hold more: a Lambda layer is marshalled Python, a
SavedModel may call back into Python or write a file. Such a file is turned away by reading it as data, unopened.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from visrec.errors import InputError

CODE_LAYERS = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Layers whose saved form is code, or a path to more of it."""
CODE_OPS = frozenset({"PyFunc", "EagerPyFunc", "PyFuncStateless", "WriteFile", "ReadFile", "MatchingFiles"})
"""TensorFlow operations that call Python or touch files by a name that the model's maker chose."""
PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt", ".bin"})
MOST_CONFIG_BYTES = 50_000_000


def refuse_code(path: Path) -> None:
    """Raise ``InputError``, naming the layer or operation, for a model that brings code along."""
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"'{path.name}' is a pickle by its name, and opening one runs whatever code its maker put there. "
            "Export the model as .keras, .tflite or a SavedModel where it was trained."
        )
    if path.is_dir():
        _refuse(sorted(CODE_OPS & set(_operations(path))), path.name, "operation")
    elif path.suffix == ".keras":
        _refuse(_layers(_keras_config(path)), path.name, "layer")
    elif path.suffix in (".h5", ".hdf5"):
        _refuse(_layers(_h5_config(path)), path.name, "layer")


def _refuse(found: list[str], name: str, kind: str) -> None:
    if found:
        raise InputError(
            f"'{name}' holds the {kind} {', '.join(dict.fromkeys(found))}: code of its maker that opening or asking it "
            "would run, so it is not opened. Replace it by plain layers and save again, or export the model as .tflite."
        )


def _layers(config: Any) -> list[str]:
    return [f"{name} ('{title}')" if title else name for name, title in _named(config) if name in CODE_LAYERS]


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Every class name in a configuration, at any depth, with the name that its layer bears."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(name := item.get("class_name"), str):
                inner = item.get("config")
                title = inner.get("name", "") if isinstance(inner, dict) else ""
                yield name.rpartition(">")[2], str(title)
            stack += item.values()
        elif isinstance(item, list):
            stack += item


def _keras_config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MOST_CONFIG_BYTES:
                raise InputError(f"The configuration of '{path.name}' is far too large for a model.")
            return json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{path.name}' cannot be loaded as a Keras model ({error}); expected one written by "
            "model.save('name.keras')."
        ) from None


def _h5_config(path: Path) -> Any:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
    except OSError:
        raise InputError(f"'{path.name}' is not an HDF5 file; expected one written by model.save('name.h5').") from None
    if config is None:
        raise InputError(f"'{path.name}' holds weights without a model; save the whole model with model.save().")
    return json.loads(config)


def _operations(folder: Path) -> Iterator[str]:
    """The operations of a SavedModel, in its graphs and functions; read as data, nothing is run."""
    path = folder / "saved_model.pb"
    if not path.is_file():
        return  # told better by whoever opens it
    from visrec.model import device

    device.make_ready(cpu_only=True)
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise InputError(f"'{folder.name}/saved_model.pb' is not a SavedModel; it is damaged or cut off.") from None
    for meta in model.meta_graphs:
        yield from (node.op for node in meta.graph_def.node)
        for function in meta.graph_def.library.function:
            yield from (node.op for node in function.node_def)
