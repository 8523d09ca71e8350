"""What the visitor looks at: the run in focus, and the slice of its rows; both live in the URL.

A *view* is a run with its rows cut down to one split and to the chosen values of its attributes. The sidebar draws
the widgets; a page only ever asks for the view, so it works the same when the sidebar was not drawn.
"""

from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
import streamlit as st

from visrec.errors import NotFoundError, nearest
from visrec.ui import cached

RUN = "run"
"""Name of the query parameter with the id of the run in focus."""

MIN_COUNT = "min_count"
OUTCOME = "outcome"
SPLIT = "split"
CORRECT = "correct"
"""The outcome "the prediction is right", against "this class was predicted"."""

DEFAULT_MIN_COUNT = 30
_PENDING = "_pending_slice"
_FOCUS = "_focus"


def slice_key(attribute: str) -> str:
    """Widget key, and so query parameter, of the slicer of one attribute.

    >>> slice_key("race")
    'where_race'
    """
    return f"where_{attribute}"


@dataclass(frozen=True)
class View:
    """One run, and the rows of its predictions that the page is about.

    Attributes
    ----------
    run : the row of the run list (id, name, state, bucket, target, ...)
    predictions : every row of the audited split, with columns file, split, label, prediction, scores, attributes
    where : chosen values by attribute; an attribute that is absent is not filtered
    outcome : ``correct``, or the class whose prediction counts as favourable
    min_count : a cell with fewer rows is shown as unknown
    split : which rows are audited, as written in the ``split`` column; "" when the table has no splits
    attributes : columns that slice, in the order of the run's record
    labels : classes, in the order of the run's record
    """

    run: "cached.RunRow"
    predictions: pd.DataFrame = field(repr=False)
    where: dict[str, list[str]]
    outcome: str
    min_count: int
    split: str
    attributes: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def total(self) -> int:
        """Rows of the split, before any filter."""
        return len(self.predictions)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows that pass every filter; without one the predictions themselves, since a copy takes its time."""
        if not self.where:
            return self.predictions
        keep = pd.Series(True, index=self.predictions.index)
        for attribute, values in self.where.items():
            keep &= self.predictions[attribute].astype(str).isin(values)
        return self.predictions[keep]

    @property
    def scores(self) -> list[str]:
        """Names of the score columns, one per class; empty when the table has none."""
        return [column for column in self.predictions.columns if str(column).startswith("score:")]


def focus() -> "cached.RunRow | None":
    """The run in focus: named in the URL, else chosen before, else the newest finished, else the newest."""
    rows = cached.run_list()
    by_id = {row.id: row for row in rows}
    for name in (st.session_state.get(_FOCUS), st.query_params.get(RUN)):
        if name in by_id:
            return by_id[name]
    return next((row for row in rows if row.usable), rows[0] if rows else None)


def set_focus(run_id: str) -> None:
    """Put a run into focus, for this page and the next; takes effect with the next rerun."""
    st.session_state[_FOCUS] = run_id


def unknown_run() -> str | None:
    """A sentence when the URL names a run that does not exist, else None."""
    name = st.query_params.get(RUN)
    rows = cached.run_list()
    if not name or name in {row.id for row in rows}:
        return None
    return f"There is no run named '{name}' here. {nearest(name, [row.id for row in rows])}"


def splits(predictions: pd.DataFrame) -> list[str]:
    """Splits in the order in which they may honestly be audited; empty when the table has none.

    >>> splits(pd.DataFrame({"split": ["train", "val", "tune"]}))
    ['val', 'tune', 'train']
    """
    if "split" not in predictions:
        return []
    there = {str(name) for name in predictions["split"].dropna().unique()} - {""}
    known = [name for name in ("test", "val", "tune", "train") if name in there]
    return known + sorted(there - set(known))


def attributes_of(row: "cached.RunRow", predictions: pd.DataFrame) -> tuple[str, ...]:
    """Columns that slice: those the run's record names, else every column that is not a fixed one."""
    fixed = {"file", "split", "label", "prediction", "row", "sha256", "width", "height", "status"}
    named = [name for name in row.attributes if name in predictions]
    free = [c for c in predictions.columns if c not in fixed and not str(c).startswith("score:")]
    return tuple(named or [c for c in free if predictions[c].nunique() <= 60])


def view() -> View:
    """The view of this moment; raises ``NotFoundError`` when there is no run or it has no predictions."""
    row = focus()
    if row is None:
        raise NotFoundError("There is no run yet. Train one, or bring a table of predictions.")
    everything = cached.predictions(row.id)
    attributes = attributes_of(row, everything)
    names = splits(everything)
    chosen = st.session_state.get(SPLIT)
    split = chosen if chosen in names else (names[0] if names else "")
    outcome = st.session_state.get(OUTCOME) or CORRECT
    where = {name: [str(v) for v in st.session_state.get(slice_key(name)) or []] for name in attributes}
    return View(
        run=row,
        predictions=everything[everything["split"].astype(str) == split] if split else everything,
        where={name: values for name, values in where.items() if values},
        outcome=outcome if outcome in row.labels else CORRECT,
        min_count=int(st.session_state.get(MIN_COUNT) or DEFAULT_MIN_COUNT),
        split=split,
        attributes=attributes,
        labels=row.labels,
    )


def keep_slice(**changes) -> None:
    """Remember the slice over a page switch (which empties the URL), with ``changes`` to some of its parts.

    Names are widget keys: ``where_race=["White"]``, ``outcome="Female"``, ``min_count=10``.
    """
    keys = [k for k in st.session_state if str(k).startswith("where_") or k in (MIN_COUNT, OUTCOME, SPLIT)]
    st.session_state[_PENDING] = {**{key: st.session_state[key] for key in keys}, **changes}


def restore_slice() -> None:
    """Put a remembered slice back; called before the widgets are drawn, so that the URL follows."""
    for key, value in (st.session_state.pop(_PENDING, None) or {}).items():
        st.session_state[key] = value


def clear_slice() -> None:
    """Remove every filter; a button's callback."""
    for key in [k for k in st.session_state if str(k).startswith("where_")]:
        st.session_state[key] = []
