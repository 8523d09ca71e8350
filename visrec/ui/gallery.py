"""Galleries: the images behind a figure, lazily and page by page.

A *gallery* takes rows of predictions and draws a thumbnail for each, reading from the bucket only what the open page
shows. Rows whose bucket is not known are still listed by name.
"""

import pandas as pd
import streamlit as st

from visrec.errors import VisrecError
from visrec.ui import bucket_view, frame, state, widgets, wording

PER_PAGE = 24
ROW_OF = 8
"""Images of a slice that an overview shows."""


def find(view: "state.View", predictions, where: dict[str, list[str]], **asked) -> pd.DataFrame:
    """Rows of the view in some cell, as words, the surest wrong answers first.

    Parameters
    ----------
    predictions : from `audit_view.counted`
    where : the cell, attribute to values; joined with the view's own filters
    asked : ``label``, ``prediction``, ``wrong`` as in `visrec.audit.predictions.Predictions.find`
    """
    both = {name: list(values) for name, values in view.where.items()}
    for name, values in where.items():
        both[name] = [v for v in values if v in both.get(name, values)]
    if any(not values for values in both.values()):
        return predictions.frame(predictions.find(wrong=None)[:0])
    rows = predictions.frame(predictions.find(both, **asked))
    if "score" in rows:
        wrong = rows["label"] != rows["prediction"]
        rows = rows.assign(_wrong=wrong).sort_values(["_wrong", "score"], ascending=False, kind="stable")
    return rows.drop(columns="_wrong", errors="ignore").reset_index(drop=True)


def caption(row: pd.Series) -> str:
    """The words under a thumbnail: what was answered, how surely, and what the label says.

    >>> caption(pd.Series({"label": "Male", "prediction": "Female", "score": 0.91}))
    'Female 0.91, is Male'
    >>> caption(pd.Series({"label": "Male", "prediction": "Male"}))
    'Male'
    """
    sure = f" {row['score']:.2f}" if "score" in row and pd.notna(row["score"]) else ""
    answer = row["prediction"] or "no answer"
    return f"{answer}{sure}" + ("" if row["label"] == row["prediction"] else f", is {row['label']}")


def strip_of(view: "state.View", rows: pd.DataFrame, *, most: int = ROW_OF) -> None:
    """One line of thumbnails, without pages."""
    if rows.empty:
        st.caption("No wrongly answered image here.")
    elif _readable(view, rows):
        _wall(view, _first_readable(view, rows, most), explain=False, key="")


def _first_readable(view: "state.View", rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first rows whose images can be read; a bucket may hold a part of a table's images only."""
    found: list = []
    for start in range(0, min(len(rows), 5 * most), most):
        batch = rows.iloc[start : start + most]
        try:
            images = bucket_view.thumbnails(view.run.bucket, [str(f) for f in batch["file"]])
        except VisrecError:
            break
        found += [i for i, f in batch["file"].items() if images.get(str(f)) is not None]
        if len(found) >= most:
            break
    return rows.loc[found[:most]] if found else rows.head(most)


@st.fragment
@frame.guard()
def slices(view: "state.View", predictions, cells: list[dict[str, list[str]]]) -> None:
    """Rows of wrongly answered images, one row per cell; read from the bucket after everything above is drawn."""
    if predictions.rows is None:
        st.info("This table is too large to keep its rows, so there is no gallery.", icon=":material/hide_image:")
        return
    if not cells:
        st.caption("No group is large enough to be judged.")
    for cell in cells:
        wrong = find(view, predictions, cell, wrong=True)
        name = " · ".join(value for values in cell.values() for value in values)
        st.markdown(f"**{widgets.escape(name)}** {wording.count(len(wrong), 'wrong answer')}")
        strip_of(view, wrong)


@st.fragment
@frame.guard()
def paged(view: "state.View", rows: pd.DataFrame, *, key: str) -> None:
    """All rows, `PER_PAGE` thumbnails at a time; each leads to its explanation when the run has a model."""
    if rows.empty:
        st.info("No image there.", icon=":material/hide_image:")
        return
    pages = -(-len(rows) // PER_PAGE)
    page = 1
    if pages > 1:
        state_key = f"{key}_page"
        if st.session_state.get(state_key, 1) > pages:
            st.session_state[state_key] = 1
        page = st.number_input(f"Page (of {pages:,})", 1, pages, key=state_key, width=160)
    shown = rows.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    st.caption(f"{(page - 1) * PER_PAGE + 1:,} to {(page - 1) * PER_PAGE + len(shown):,} of {len(rows):,}")
    if _readable(view, shown):
        _wall(view, shown, explain=view.run.kind != "imported-table", key=key)
    widgets.table(rows, f"{key}_{widgets.file_stem(view.run.name)}", label="These rows as a table")


def _readable(view: "state.View", rows: pd.DataFrame) -> bool:
    """Whether there is something to show; says what is missing when not."""
    if "file" not in rows:
        st.info("The table has no file names, so there are no images to show.", icon=":material/hide_image:")
        return False
    if not view.run.bucket:
        st.info(
            "This run does not say in which bucket its images lie; import the table again and name the bucket to see "
            "them here.",
            icon=":material/hide_image:",
        )
        return False
    return True


def _wall(view: "state.View", rows: pd.DataFrame, *, explain: bool, key: str) -> None:
    try:
        images = bucket_view.thumbnails(view.run.bucket, [str(f) for f in rows["file"]])
    except VisrecError as error:
        st.info(f"The images cannot be shown: {widgets.escape(error)}", icon=":material/hide_image:")
        return
    with st.container(horizontal=True, gap="small"):
        for _, row in rows.iterrows():
            with st.container(width=bucket_view.THUMBNAIL + 8, gap="xsmall"):
                _card(row, images.get(str(row["file"])), explain, key)


def _card(row: pd.Series, image: bytes | None, explain: bool, key: str) -> None:
    name, words = str(row["file"]), caption(row)
    if image is None:
        st.caption(f":material/broken_image: {widgets.escape(name)} cannot be read")
    else:
        st.image(image, width="stretch", alt=f"{words}: {name}")
    mark = ":material/check:" if row["label"] == row["prediction"] else ":material/close:"
    st.caption(f"{mark} {widgets.escape(words)}")
    if explain and image is not None and st.button("Explain", key=f"{key}_explain_{name}", width="stretch"):
        st.session_state["file"] = name
        st.session_state["source"] = "test"
        frame.go("explain")
