"""Bringing a table of one's own: upload, say what each column is, and it becomes a run like any other.

The upload lies in a temporary folder of this server until it is imported; the run that it becomes lies with the runs.
"""

import contextlib
import tempfile
import time
from pathlib import Path

import pandas as pd
import streamlit as st

from visrec.errors import InputError, VisrecError
from visrec.runs.import_table import Columns, guess_columns, import_table
from visrec.ui import cached, frame, state, widgets, wording

NOTHING = "none"
PREVIEW = 2_000
"""Rows looked at to guess which columns make groups."""

KEEP_SECONDS = 24 * 3600
MOST_ROWS = 2_000_000
"""`visrec.audit.predictions.KEEP_ROWS`, said before anything heavy is imported; a test compares them."""

MANY_NUMBERS = 20
"""A column of numbers with more values than this makes no groups until it is binned."""


def upload() -> Path | None:
    """The uploaded table as a file on this machine, or None while there is none."""
    sent = st.file_uploader(
        f"A table with one row per image: CSV or Parquet, at most 200 MB and {MOST_ROWS:,} rows",
        type=["csv", "parquet"],
        key="import_upload",
    )
    if sent is None:
        st.caption(
            "It needs a column with the label and one with the model's answer (or its scores); columns such as race or "
            "age make the groups, a column of file names the galleries. Larger tables: `visrec audit TABLE` on the "
            "command line counts them in pieces, whatever their size."
        )
        return None
    path = upload_folder() / f"{sent.file_id}" / Path(sent.name).name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sent.getvalue())
    return path


def upload_folder() -> Path:
    """Where uploads lie until they are imported; those of yesterday are removed."""
    folder = Path(tempfile.gettempdir()) / "visrec-uploads"
    folder.mkdir(mode=0o700, exist_ok=True)
    _remove_old(folder)
    return folder


def _remove_old(folder: Path) -> None:
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):  # another visitor's rerun may have been faster
            if time.time() - path.stat().st_mtime > KEEP_SECONDS:
                path.unlink()
                path.parent.rmdir()


def preview(path: Path) -> pd.DataFrame:
    """The first rows of a table, all columns.

    Raises
    ------
    InputError
        If it cannot be read as a table.
    """
    from visrec.audit.sources import open_source

    source = open_source(path)
    first = next(iter(source.batches(source.columns, PREVIEW)), None)
    if first is None:
        raise InputError(f"'{path.name}' holds no rows.")
    return first.to_pandas().head(PREVIEW)


def grouping_columns(table: pd.DataFrame, used: set[str]) -> list[str]:
    """Columns that look like groups: few different values, and not all different.

    >>> table = pd.DataFrame({"file": ["a", "b", "c"], "race": ["x", "x", "y"], "label": ["1", "2", "1"]})
    >>> grouping_columns(table, {"label"})
    ['race']
    """
    few = max(2, min(60, len(table) // 2))
    return [str(c) for c in table.columns if str(c) not in used and 1 < table[c].nunique() <= few]


def needs_bins(values: pd.Series) -> bool:
    """Whether a column holds so many different numbers that only bins of it make groups.

    >>> needs_bins(pd.Series(range(50))), needs_bins(pd.Series(["3-9", "10-19"])), needs_bins(pd.Series([1, 2, 1]))
    (True, False, False)
    """
    known = values.dropna()
    numbers = pd.to_numeric(known, errors="coerce")
    return bool(len(known) and numbers.notna().all() and known.nunique() > MANY_NUMBERS)


def choose_columns(table: pd.DataFrame) -> Columns:
    """Selectors for what each column is, filled with a guess."""
    names = [str(c) for c in table.columns]
    guess = guess_columns(names)
    left, right = st.columns(2)
    with left:
        label = st.selectbox("Label: what is true", names, names.index(guess.label), key="import_label")
        file = _optional("File name", names, guess.file, key="import_file")
    with right:
        prediction = _optional("Prediction: what the model answered", names, guess.prediction, key="import_prediction")
        scores = st.multiselect(
            "Scores (0 to 1)", names, list(guess.scores), key="import_scores",
            help="One column, or one per class named score:<class>. Without scores there are no thresholds, ROC or "
            "calibration; everything else works.",
        )  # fmt: skip
    score_class = None
    if len(scores) == 1 and not scores[0].startswith("score:"):
        classes = widgets.ordered(table[label].dropna().astype(str).unique())
        score_class = st.selectbox(
            f"A high {scores[0]} means", classes, len(classes) - 1 if classes else None, key="import_score_class"
        )
    used = {label, prediction, file, *scores} - {None}
    free = [n for n in names if n not in used]
    offered = [n for n in grouping_columns(table, used) if n not in ("split",)]
    attributes = st.multiselect(
        "Groups: columns to compare by", free, [n for n in offered if not needs_bins(table[n])], key="import_attributes"
    )
    bins = {name: _bins(name, table[name]) for name in attributes if needs_bins(table[name])}
    return Columns(
        label=label, prediction=prediction, scores=tuple(scores), score_class=score_class,
        attributes=tuple(attributes), bins={k: v for k, v in bins.items() if v is not None}, file=file or "file",
    )  # fmt: skip


def _optional(label: str, names: list[str], guess: str | None, *, key: str) -> str | None:
    options = [NOTHING, *names]
    chosen = st.selectbox(label, options, options.index(guess) if guess in names else 0, key=key)
    return None if chosen == NOTHING else chosen


def _bins(name: str, values: pd.Series):
    from visrec.audit.encode import parse_bins

    numbers = pd.to_numeric(values.dropna())
    text = st.text_input(
        f"{wording.nice(name)} holds numbers ({numbers.min():g} to {numbers.max():g}): edges of its groups", "q4",
        key=f"import_bins_{name}", help="Such as 0, 3, 10, 20; or q4 for four groups of equal size.",
    )  # fmt: skip
    return parse_bins(f"{name}={text.replace(' ', '')}")[1]


def choose_images() -> str | None:
    """The bucket with the images, for galleries; none is fine."""
    names = [bucket.name for bucket in cached.buckets()]
    chosen = st.selectbox(
        "Bucket with the images", [NOTHING, *names], key="import_images",
        help="File names are fitted to the bucket's: folders in front may differ. Without a bucket there are no "
        "galleries; all figures are the same.",
    )  # fmt: skip
    return None if chosen == NOTHING else chosen


def form(path: Path) -> None:
    """Columns, bucket and name of an uploaded table, and the button that imports it."""
    table = preview(path)
    with st.expander("First rows", expanded=True, icon=":material/table:"):
        st.dataframe(table.head(5), hide_index=True, width="stretch", alt="First rows of the table")
    columns = choose_columns(table)
    left, right = st.columns(2)
    with left:
        images = choose_images()
    with right:
        name = st.text_input("Name", path.stem, key="import_name", max_chars=80)
    if columns.prediction is None and not columns.scores:
        st.info("Name the column with the model's answer, or its scores.", icon=":material/info:")
        return
    if not st.button("Import and audit", type="primary", icon=":material/upload_file:", key="import_go"):
        return
    try:
        with st.spinner("Reading and counting"):
            run = import_table(path, cached.settings(), columns, name=name or None, images=images)
    except VisrecError as error:
        st.error(widgets.escape(str(error)), icon=":material/error:")
        return
    with contextlib.suppress(OSError):
        path.unlink()
    cached.forget_runs()
    state.set_focus(run.id)
    frame.go("overview")
