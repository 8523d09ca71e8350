"""Sample weights: how much each training image counts, so that a large group does not drown a small one.

``class`` gives every class the same total, ``group`` every cell of the watched attributes, and ``reweighing`` makes
label and group independent (Kamiran, Calders 2012, https://doi.org/10.1007/s10115-011-0463-8): a cell's weight is
what it would count if label and group were independent, over what it counts. The mean weight is 1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visrec.audit.cube import UNKNOWN

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def sample_weights(samples: "pd.DataFrame", kind: str, by: Sequence[str]) -> "np.ndarray":
    """Weights float32 (n,) with mean 1 over the rows given.

    Parameters
    ----------
    samples : with ``label`` and the columns ``by``
    kind : ``none``, ``class``, ``group`` or ``reweighing``

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"label": ["a", "a", "a", "b"]})
    >>> [round(float(w), 3) for w in sample_weights(table, "class", [])]
    [0.667, 0.667, 0.667, 2.0]
    """
    import numpy as np

    count = len(samples)
    if kind == "none" or count == 0 or (kind != "class" and not by):
        return np.ones(count, np.float32)
    label = samples["label"].astype("str")
    groups = samples[list(by)].astype("str").fillna(UNKNOWN)  # not knowing is a group of its own, as in an audit
    group = groups.agg("\x1f".join, axis=1) if kind != "class" else label
    in_group = group.map(group.value_counts()).to_numpy(float)
    if kind in ("class", "group"):
        weights = 1.0 / in_group
    else:
        cell = group + "\x1e" + label
        in_cell, in_label = cell.map(cell.value_counts()), label.map(label.value_counts())
        weights = in_group * in_label.to_numpy(float) / (count * in_cell.to_numpy(float))
    return (weights * count / weights.sum()).astype(np.float32)
