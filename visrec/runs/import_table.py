"""Imported tables: the predictions of any model, kept as a run of their own.

An *imported table* is a CSV or Parquet file whose columns were named (label, prediction, scores, attributes). It is
checked and counted as an audit does it, written in the form of every run's predictions, and stored under the runs, so
that it has an id, can be bookmarked, and outlives the visit. Rows an audit would leave out are left out here, counted
and named in the record.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError
from visrec.runs.record import Run, finish, open_runs
from visrec.runs.status import Status

if TYPE_CHECKING:
    import pandas as pd

    from visrec.audit.predictions import Predictions
    from visrec.config import Settings
    from visrec.storage.base import Store

FEW_ENOUGH = 20
"""A bucket may hold a part of a table's images only; one in twenty names found is enough to trust an ending."""

MOST_DEPTH = 6
"""So many leading folders of a name are tried away when names and bucket disagree."""


@dataclass(frozen=True)
class Columns:
    """What each column of a table is.

    Attributes
    ----------
    label, prediction : names of columns; ``prediction=None`` takes the class with the highest score
    scores : one column, or one ``score:<class>`` column per class; empty = no scores
    score_class : the class that a single score column speaks for; None = found from the predictions
    attributes : columns that make subgroups; None = every column with few enough values
    bins : edges, or a number of equally large groups, for attributes that are numbers
    file : column of file names
    split : keep the rows of this split; None = test, else val, of a table that has a column ``split``
    attribute_table : path of a second table with more attributes, joined by file name
    """

    label: str
    prediction: str | None = "prediction"
    scores: tuple[str, ...] = ()
    score_class: str | None = None
    attributes: tuple[str, ...] | None = None
    bins: Mapping[str, Sequence[float] | int] = field(default_factory=dict)
    file: str = "file"
    split: str | None = None
    attribute_table: str | None = None


def guess_columns(names: Sequence[str]) -> Columns:
    """A first guess from the columns' names alone, for a form to start from.

    >>> guess_columns(["file", "age", "gender", "predicted_gender"])  # doctest: +ELLIPSIS
    Columns(label='gender', prediction='predicted_gender', ...)
    >>> guess_columns(["path", "y", "score:a", "score:b"]).scores
    ('score:a', 'score:b')
    """
    lower = {str(name).lower(): str(name) for name in names}

    def first(*wanted: str) -> str | None:
        return next((lower[w] for w in wanted if w in lower), None)

    prediction = first("prediction", "predicted", "pred", "y_pred", "predicted_label", "answer")
    prediction = prediction or next((n for low, n in lower.items() if low.startswith(("pred", "y_hat"))), None)
    about = prediction.lower().removeprefix("predicted_").removeprefix("pred_") if prediction else ""
    label = first("label", "y_true", "truth", "target", "class", "y", about)
    scores = [str(n) for n in names if str(n).startswith("score:")]
    scores = scores or [n for n in (first("score", "probability", "prob", "confidence"),) if n]
    return Columns(
        label=label or str(names[0]),
        prediction=prediction,
        scores=tuple(scores),
        file=first("file", "path", "image", "filename", "file_name", "img") or "file",
    )


def read_table(source: "Path | str | pd.DataFrame", columns: Columns) -> "Predictions":
    """Read and count a table, exactly as ``visrec audit`` would.

    Raises
    ------
    InputError
        What `visrec.audit.predictions.load_predictions` raises, and for a table too large to keep row by row.
    """
    from visrec.audit.predictions import load_predictions
    from visrec.audit.splits import default_split

    require_keepable(source)
    scores = columns.scores[0] if len(columns.scores) == 1 else list(columns.scores)
    read = load_predictions(
        source,
        label=columns.label,
        prediction=columns.prediction,
        scores=scores or None,
        score_class=columns.score_class,
        attributes=None if columns.attributes is None else list(columns.attributes),
        bins=dict(columns.bins) or None,
        split=columns.split or default_split(source),
        file=columns.file,
        attribute_table=columns.attribute_table,
    )
    if read.rows is None:
        raise InputError(_too_large(read.total))
    return read


def require_keepable(source: "Path | str | pd.DataFrame") -> None:
    """Refuse a table that is too large to become a run before it is read, where its file says how large it is.

    Raises
    ------
    InputError
        With the limit, and what to do instead.
    """
    from visrec.audit.predictions import KEEP_ROWS
    from visrec.audit.sources import open_source

    rows = open_source(source).rows
    if rows is not None and rows > KEEP_ROWS:
        raise InputError(_too_large(rows))


def _too_large(rows: int) -> str:
    from visrec.audit.predictions import KEEP_ROWS

    return (
        f"The table has {rows:,} rows; up to {KEEP_ROWS:,} can be kept as a run, because the pages show single rows. "
        "Audit it on the command line, which counts a table of any size in pieces: `visrec audit TABLE --label ... "
        "--by ... --json` (or `-o report.html`), without --keep."
    )


def standard_table(predictions: "Predictions") -> "pd.DataFrame":
    """The counted rows in the form of every run's predictions.

    Returns
    -------
    DataFrame
        ``file`` (where there were names), ``label``, ``prediction`` (None where the model gave none),
        ``score:<class>`` (0..1, where there were scores), then the attributes in words; an attribute that has the
        name of one of ours is called ``NAME (column)``.
    """
    import numpy as np

    rows = predictions.rows
    frame = predictions.frame(np.arange(len(rows))).drop(columns="score", errors="ignore")
    frame["prediction"] = frame["prediction"].where(rows.prediction >= 0, None)
    if rows.scores is not None:
        place = list(frame.columns).index("prediction") + 1
        for i, label in enumerate(predictions.labels):
            frame.insert(place + i, f"score:{label}", rows.scores[:, i])
    return frame


def import_table(
    source: "Path | str | pd.DataFrame",
    settings: "Settings",
    columns: Columns,
    *,
    name: str | None = None,
    images: str | None = None,
    by: Sequence[str] | None = None,
) -> Run:
    """Keep a table of predictions as a run.

    Parameters
    ----------
    source : path of a CSV or Parquet file, or a table in memory
    columns : what each column is
    name : what the run is called; by default the file's name
    images : bucket with the images, for galleries; file names are fitted to its keys
    by : attributes that the pages split by at first; None takes two, but never the column that is predicted

    Returns
    -------
    Run
        Of kind ``imported-table``, state done.

    Raises
    ------
    InputError
        A missing column, scores outside 0..1, no rows, an unknown bucket, or names of which none is in the bucket.
    """
    from visrec.audit.splits import default_split

    require_keepable(source)
    columns = dataclasses.replace(columns, split=columns.split or default_split(source))
    predictions = read_table(source, columns)
    table = standard_table(predictions)
    fitted = {"matched": 0, "strip": 0, "prefix": ""}
    if images:
        table, fitted = _fit_names(table, images, settings)
    title = name or (Path(source).stem if isinstance(source, str | Path) else "imported table")
    run = open_runs(settings).create(_record(predictions, columns, images, fitted, by), title)
    now = time.time()
    status = Status("running", stage="export", heartbeat=now, started=now, progress=0.5, message="Writing the table.")
    run.write_status(dataclasses.replace(status, state="queued"))
    run.write_table("predictions.parquet", table)
    run.write_status(finish(status, "done", f"{len(table):,} predictions imported.", now=time.time()))
    return run


def _record(
    predictions: "Predictions", columns: Columns, images: str | None, fitted: dict, by: Sequence[str] | None
) -> dict:
    from visrec.audit.intervals import wilson
    from visrec.audit.predictions import column_names

    rows = predictions.rows
    answered = rows.prediction >= 0
    right, n = int((rows.prediction == rows.label).sum()), int(answered.sum())
    low, high = (float(end[0]) for end in wilson([right], [n]))
    names = column_names([a.name for a in predictions.attributes])
    first = [a for a in by if a in names] if by else [a for a in names if a != columns.label][:2]
    value = right / n if n else None
    return {
        "kind": "imported-table",
        "bucket": images or "",
        "target": columns.label,
        "by": [names[a] for a in first],
        "labels": list(predictions.labels),
        "attributes": list(names.values()),
        "settings": {"columns": dataclasses.asdict(columns), "images": images, "file_names": fitted},
        "decisions": list(predictions.notes),
        "skipped": [dataclasses.asdict(s) for s in predictions.skipped] + _other_splits(predictions),
        "metrics": {
            f"{columns.split}_accuracy" if columns.split else "accuracy": {
                "value": value,
                "low": low,
                "high": high,
                "n": n,
            },
            "split": columns.split or "",
        },
    }


def _other_splits(predictions: "Predictions") -> list[dict]:
    """Rows that training has seen, or that were not asked for: counted beside the other rows left out."""
    if not predictions.other_splits:
        return []
    return [{"reason": "of another split than the audited one", "count": predictions.other_splits, "examples": []}]


def _fit_names(table: "pd.DataFrame", images: str, settings: "Settings") -> "tuple[pd.DataFrame, dict]":
    from visrec.storage.buckets import open_bucket

    if "file" not in table:
        raise InputError("The table has no column of file names, so its images cannot be found in a bucket.")
    keys = _keys(open_bucket(images, settings))
    names = table["file"].astype(str)
    strip, prefix, matched = fit_prefix(names, keys)
    if not matched:
        raise InputError(
            f"None of the {len(names):,} file names is an image of the bucket '{images}': the table says "
            f"'{names.iloc[0]}', the bucket '{min(keys, default='nothing')}'. Name another bucket, or none."
        )
    fitted = names.map(lambda n: prefix + "/".join(n.split("/")[strip:]))
    return table.assign(file=fitted), {"matched": matched, "strip": strip, "prefix": prefix}


def _keys(store: "Store") -> set[str]:
    return {info.key for info in store.list()}


def fit_prefix(names: Sequence[str], keys: set[str], look: int = 500) -> tuple[int, str, int]:
    """How file names must change to become keys of a bucket.

    Parameters
    ----------
    names : file names as the table writes them
    keys : every key of the bucket
    look : so many names, spread over the table, decide

    Returns
    -------
    strip : leading folders to take away
    prefix : what to put in front instead
    matched : how many of the names looked at are then keys; 0 = no way was found

    Examples
    --------
    >>> fit_prefix(["fairface/val/1.jpg"], {"val/1.jpg", "val/2.jpg"})
    (1, '', 1)
    >>> fit_prefix(["1.jpg", "2.jpg"], {"val/1.jpg", "val/2.jpg", "train/1.jpg"})
    (0, 'val/', 2)
    >>> fit_prefix(["fairface/val/1.jpg", "fairface/val/2.jpg"], {"val/1.jpg", "train/1.jpg", "train/2.jpg"})
    (1, '', 1)
    >>> fit_prefix(["x.jpg"], {"val/1.jpg"})
    (0, '', 0)
    """
    names = list(names)
    sample = names[:: max(1, len(names) // look)]
    folders = {""} | {key.rpartition("/")[0] + "/" for key in keys if "/" in key}
    best = (0, "", 0)
    for strip in range(MOST_DEPTH):
        short = ["/".join(name.split("/")[strip:]) for name in sample if name.count("/") >= strip]
        for prefix in sorted(folders, key=len)[:200]:
            matched = sum(prefix + name in keys for name in short)
            if matched > best[2]:
                best = (strip, prefix, matched)
        if best[2] * FEW_ENOUGH >= len(sample):
            break  # the longest ending that agrees: 'val/1.jpg' is not 'train/1.jpg'
    return best
