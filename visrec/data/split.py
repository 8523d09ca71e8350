"""A split says what an image is for: ``train`` to fit, ``tune`` to choose, ``val`` and ``test`` to judge.

``tune`` is a tenth of train, so that nothing that is chosen in a training is chosen on the images it is later
judged by. Where a bucket has no validation images, a fifth of its training images become them. Both are drawn with
a seed, keep the proportions of the label and of the watched attributes, and never tear a group of alike images
(byte-identical copies, frames of one video) apart.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from visrec.data.sample import spread_order
from visrec.data.table import BucketTable
from visrec.errors import InputError, nearest

TUNE_SHARE = 0.1
VAL_SHARE = 0.2


def assign_splits(
    table: BucketTable,
    target: str | None = None,
    by: Sequence[str] = (),
    seed: int = 0,
    groups: pd.Series | None = None,
) -> pd.DataFrame:
    """The sample table with ``label`` and with every image in train, tune, val or test.

    Parameters
    ----------
    table : a bucket's labels; its own val and test images stay what they are
    target : column to predict; None = the bucket's default
    by : attributes whose proportions are kept
    seed : of the draw
    groups : file -> group id; images of one group are never separated. Default: the ETags, where they are content
        hashes

    Returns
    -------
    DataFrame: file, label, split, then the columns of the bucket. Images without a label are left out.

    Raises
    ------
    InputError
        No such column, or fewer than two classes.
    """
    samples = with_label(table, target)
    for name in by:
        if name not in samples:
            raise InputError(f"There is no column '{name}' to watch. {nearest(name, table.attributes)}")
    samples["split"] = samples["split"].where(samples["split"].isin(["val", "test"]), "train")
    ids = _group_ids(samples["file"], groups if groups is not None else content_tags(table))
    columns = ["label", *[c for c in by if c != target]]
    if not (samples["split"] == "val").any():
        _move(samples, "val", VAL_SHARE, columns, ids, np.random.default_rng([seed, 0]))
    _move(samples, "tune", TUNE_SHARE, columns, ids, np.random.default_rng([seed, 1]))
    return samples


def with_label(table: BucketTable, target: str | None = None) -> pd.DataFrame:
    """The bucket's samples with the target as ``label``, those without one left out."""
    target = target or table.target
    if target is None:
        raise InputError(f"Several columns could be predicted: {', '.join(table.targets)}. Choose one with --target.")
    if target not in table.targets:
        raise InputError(f"The column '{target}' cannot be predicted. {nearest(target, table.targets)}")
    samples = table.samples.copy()
    label = samples[target].astype("str")
    if target != "label" and "label" in samples:
        samples = samples.rename(columns={"label": "label (column)"})
    samples = samples.drop(columns="label", errors="ignore")
    samples.insert(1, "label", label)
    samples = samples[label.notna() & (label != "")].reset_index(drop=True)
    if samples["label"].nunique() < 2:
        raise InputError(f"'{target}' has fewer than two values; a classifier needs at least two classes.")
    return samples


def content_tags(table: BucketTable) -> pd.Series:
    """file -> MD5 for the objects whose store tells it (an ETag of 32 hex digits)."""
    tags = {key: info.etag for key, info in table.objects.items()}
    series = pd.Series(tags, dtype="str")
    return series[series.str.fullmatch("[0-9a-f]{32}")]


def _group_ids(files: pd.Series, groups: pd.Series) -> np.ndarray:
    named = files.map(groups.astype("str").to_dict()) if len(groups) else pd.Series(np.nan, index=files.index)
    # a file without a group is a group of its own; the prefix keeps it from meeting a real group's name
    return pd.factorize(("group " + named.astype("object")).where(named.notna(), "file " + files))[0]


def _move(samples: pd.DataFrame, split: str, share: float, columns, ids: np.ndarray, rng) -> None:
    """Move about ``share`` of the training images to ``split``, whole groups at a time."""
    training = np.flatnonzero(samples["split"] == "train")
    units = pd.DataFrame({"row": training, "unit": ids[training]})
    first = units.drop_duplicates("unit")
    sizes = units["unit"].value_counts()[first["unit"]].to_numpy()
    order = spread_order(samples.iloc[first["row"]], columns, rng)
    taken = order[_diffuse(sizes[order], share, rng.random())]
    chosen = set(first["unit"].to_numpy()[taken])
    rows = units["row"][units["unit"].isin(chosen)].to_numpy()
    rows = _keep_one_per_class(samples, training, rows)
    samples.iloc[rows, samples.columns.get_loc("split")] = split


def _diffuse(sizes: np.ndarray, share: float, start: float) -> np.ndarray:
    """Which units to take so that the rows taken follow ``share`` all along the order (error diffusion)."""
    due, taken = start, []
    for position, size in enumerate(sizes):
        due += size * share
        if due >= (size + 1) / 2:
            due -= size
            taken.append(position)
    return np.array(taken, dtype=int)


def _keep_one_per_class(samples: pd.DataFrame, training: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Leave out of ``rows`` the classes that would otherwise have no training image at all."""
    labels = samples["label"].to_numpy()
    left = set(labels[np.setdiff1d(training, rows)])
    return np.array([row for row in rows if labels[row] in left], dtype=int)
