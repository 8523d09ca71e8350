"""A checkpoint: everything that a training needs to go on as if it had never stopped.

Keras' own files lose the state of the random layers and of early stopping, so a run resumed from them drifts away.
Here every variable of the model and of the optimizer is stored by position, with the random state and the notes of
the training loop beside it, in one file that is written whole or not at all.
"""

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

from visrec.errors import InputError, VisrecError
from visrec.runs.record import Run

if TYPE_CHECKING:
    import keras
    import numpy as np

LAST, BEST = "checkpoint/last.npz", "checkpoint/best.npz"
_NOTES = "notes"


def save(run: Run, name: str, model: "keras.Model", optimizer=None, notes: dict[str, Any] | None = None) -> None:
    """Write a checkpoint of a run."""
    import numpy as np

    arrays = {f"model/{i}": v.numpy() for i, v in enumerate(_variables(model))}
    if optimizer is not None:
        arrays |= {f"optimizer/{i}": v.numpy() for i, v in enumerate(optimizer.variables)}
    arrays[_NOTES] = np.frombuffer(json.dumps(notes or {}).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    run.store.write(name, buffer.getvalue())


def forget(run: Run) -> None:
    """Delete what was kept to resume a run, if it is known to be done; what cannot be deleted stays, without harm."""
    with contextlib.suppress(VisrecError, OSError):
        if run.written_status().state == "done":
            for name in (LAST, BEST):
                run.store.delete(name)


def load(run: Run, name: str, model: "keras.Model", optimizer=None) -> dict[str, Any] | None:
    """Put a checkpoint back; its notes, or None if there is none.

    Raises ``InputError`` when it belongs to another model.
    """
    import numpy as np

    if not run.store.exists(name):
        return None
    with np.load(io.BytesIO(run.store.read(name))) as arrays:
        _assign(_variables(model), arrays, "model")
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
            _assign(optimizer.variables, arrays, "optimizer")
        return json.loads(bytes(arrays[_NOTES]))


def _variables(model: "keras.Model") -> list:
    """All variables, those of random layers (Dropout's seed and counter) as well."""
    known = {id(v): v for v in model.variables}
    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", None) or []:
            known[id(generator.state)] = generator.state
        if (generator := getattr(layer, "seed_generator", None)) is not None:
            known[id(generator.state)] = generator.state
    return list(known.values())


def _assign(variables: list, arrays: "np.lib.npyio.NpzFile", kind: str) -> None:
    found = [name for name in arrays.files if name.startswith(kind + "/")]
    if len(found) != len(variables):
        raise InputError(
            f"The checkpoint holds {len(found)} {kind} variables and this {kind} has {len(variables)}; it was written "
            "by another version. Start a new run with the same settings."
        )
    for i, variable in enumerate(variables):
        variable.assign(arrays[f"{kind}/{i}"])
