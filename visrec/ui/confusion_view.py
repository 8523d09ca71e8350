"""The Confusion page in parts: which matrices, what they show, and the images behind one square.

A *square* is one label and one answer in one cell; cell -1 is the matrix of all rows. Which square is open lives in the
URL, so that a gallery can be bookmarked.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_confusion, gallery, state, widgets, wording
from visrec.ui.charts_confusion import COUNTS, DIFFERENCE, SHARE, SHOWS, Matrices

SHOW = "show"
SQUARE = "square"
"""Query parameter of the open square: ``value|value|label|answer``, ``*`` for all rows."""

CELLS_AT_MOST = 400
"""More matrices than this on one page help nobody; they are in the table."""


def matrices_of(audit, by: Sequence[str]) -> Matrices:
    """The matrices of every combination of the values that occur, those without a single row included."""
    found = audit.confusion(by) if by else {}
    values = [list(dict.fromkeys(key[i] for key in found)) for i in range(len(by))]
    if len(by) == 2:
        order = {name: list(audit.cube.attributes[audit.cube.attribute(name)].values) for name in by}
        firsts, seconds = (sorted(v, key=order[name].index) for name, v in zip(by, values, strict=True))
        keys = [(a, b) for a in firsts for b in seconds]
    else:
        keys = list(found)
    k = len(audit.labels)
    nothing = np.zeros((k, k), dtype=np.int64)
    counts = np.array([found.get(key, nothing) for key in keys], dtype=np.int64).reshape(len(keys), k, k)
    overall = next(iter(audit.confusion(()).values()))
    return Matrices(tuple(audit.labels), tuple(keys), counts, overall, audit.question.min_count)


def long_table(matrices: Matrices, by: Sequence[str]) -> pd.DataFrame:
    """Every square as a row: the attributes, label, answer, count, share of row (NaN where unknown)."""
    k = len(matrices.labels)
    shares = charts_confusion.shares_of_row(matrices.counts)
    shares[matrices.small] = np.nan
    index = [(*key, a, b) for key in matrices.keys for a in matrices.labels for b in matrices.labels]
    frame = pd.DataFrame(index, columns=[*by, "label", "answered"])
    return frame.assign(
        count=matrices.counts.ravel(), share_of_row=shares.ravel(), group_n=np.repeat(matrices.n, k * k)
    )


def square_text(matrices: Matrices, square: tuple[int, int, int]) -> str:
    """A square as the URL writes it."""
    cell, label, answer = square
    key = ("*",) if cell < 0 else matrices.keys[cell]
    return "|".join([*key, matrices.labels[label], matrices.labels[answer]])


def read_square(matrices: Matrices, text: str | None) -> tuple[int, int, int] | None:
    """The square that the URL names; None when it names none of these."""
    parts = (text or "").split("|")
    if len(parts) < 3:
        return None
    *key, label, answer = parts
    if label not in matrices.labels or answer not in matrices.labels:
        return None
    place = matrices.labels.index(label), matrices.labels.index(answer)
    if key == ["*"]:
        return (-1, *place)
    return (matrices.keys.index(tuple(key)), *place) if tuple(key) in matrices.keys else None


def choose_show() -> str:
    """Counts, share of row or difference to overall; kept in the URL."""
    return st.segmented_control(
        "Show", SHOWS, default=SHARE, key=SHOW, bind="query-params", required=True, format_func=wording.nice
    )


def draw_overall(matrices: Matrices) -> None:
    """The matrix of all rows beside how to read it."""
    k = len(matrices.labels)
    picture, words = st.columns([2, 3], gap="large") if k <= 3 else (st.container(), st.container())
    with picture:
        with audit_view.sideways("confusion_overall_scroll", 72 * k + 130 if k > 3 else 0):
            event = widgets.chart(
                charts_confusion.overall_matrix(matrices, selected=_open_square(matrices)),
                key="confusion_overall",
                on_select="rerun",
                selection_mode="points",
            )
        st.caption(f"All rows, n = {charts.count_text(matrices.overall.sum())}.")
        _take_click(matrices, event, "confusion_overall")
    with words:
        st.markdown("\n".join(f"- {line}" for line in reading(matrices)))
        st.caption(
            "Each line is a label, each column an answer: a line sums to the rows with that label. "
            "The diagonal from top left holds the right answers."
        )


def reading(matrices: Matrices) -> list[str]:
    """What the overall matrix says, and which known cells differ most from it."""
    counts, labels = matrices.overall, matrices.labels
    shares = charts_confusion.shares_of_row(counts)
    wrong = np.where(np.eye(len(labels), dtype=bool), np.nan, shares)
    lines = [f"{charts.count_text(np.trace(counts))} of {charts.count_text(counts.sum())} rows are answered rightly."]
    if np.isfinite(wrong).any():
        i, j = np.unravel_index(np.nanargmax(wrong), wrong.shape)
        lines.append(
            f"The most frequent error: **{widgets.escape(labels[i])}** answered as **{widgets.escape(labels[j])}**, "
            f"{charts.rate_text(wrong[i, j])} of its {charts.count_text(counts[i].sum())} rows."
        )
        lines += _furthest(matrices, i, j)
    small = int(matrices.small.sum())
    if small:
        lines.append(
            f"{wording.count(small, 'group')} of {len(matrices.keys):,} with fewer than {matrices.min_count} rows: "
            "hatched, unknown."
        )
    return lines


def _furthest(matrices: Matrices, i: int, j: int) -> list[str]:
    share = charts_confusion.shares_of_row(matrices.counts)[:, i, j]
    share = np.where(matrices.small | (matrices.counts[:, i].sum(axis=1) < matrices.min_count), np.nan, share)
    if np.isfinite(share).sum() < 2:
        return []
    high, low = int(np.nanargmax(share)), int(np.nanargmin(share))
    name = [widgets.escape(charts.cell_name(matrices.keys[c])) for c in (high, low)]
    return [
        f"That error ranges from {charts.rate_text(share[low])} ({name[1]}) to {charts.rate_text(share[high])} "
        f"({name[0]}). Whether more than chance is behind it is on the Metrics page."
    ]


def draw_grid(matrices: Matrices, by: Sequence[str], show: str) -> None:
    """The small multiples; wider than the page on a telephone, where they scroll sideways."""
    if len(matrices.keys) > CELLS_AT_MOST:
        st.info(
            f"{len(matrices.keys):,} groups are too many to draw; filter in the sidebar or split by less. "
            "All their numbers are in the table below.",
            icon=":material/grid_off:",
        )
        return
    k = len(matrices.labels)
    grid = charts_confusion.arrange(matrices.keys, charts_confusion.matrices_per_line(k))
    with audit_view.sideways("confusion_scroll", charts_confusion.least_width(grid, k)):
        event = widgets.chart(
            charts_confusion.small_multiples(matrices, show, selected=_open_square(matrices)),
            key="confusion_grid",
            on_select="rerun",
            selection_mode="points",
        )
    st.caption(_grid_summary(matrices, by, show))
    _take_click(matrices, event, "confusion_grid")


def _grid_summary(matrices: Matrices, by: Sequence[str], show: str) -> str:
    colour = {
        SHARE: "Number and colour: share of the row, yellow is 1",
        COUNTS: "Number: rows; colour: share of the row, yellow is 1",
        DIFFERENCE: "Share of the row minus that of all rows: orange is more, blue is less",
    }[show]
    return (
        f"{wording.count(len(matrices.keys), 'group')} by {' and '.join(by)}. {colour}. Click a square for its images."
    )


def _open_square(matrices: Matrices) -> tuple[int, int, int] | None:
    return read_square(matrices, st.query_params.get(SQUARE))


def _take_click(matrices: Matrices, event, key: str) -> None:
    """Open the square that was just clicked; an old selection is not a click."""
    points = event.selection.points if event else []
    square = tuple(int(v) for v in points[0]["customdata"]) if points and points[0].get("customdata") else None
    if square == st.session_state.get(f"_{key}_clicked"):
        return
    st.session_state[f"_{key}_clicked"] = square
    if square is not None:
        st.query_params[SQUARE] = square_text(matrices, square)
        st.rerun()


def draw_gallery(view: "state.View", predictions, matrices: Matrices, by: Sequence[str]) -> None:
    """The images of the open square; also reachable by keyboard, through three lists."""
    st.subheader("Images behind a square", anchor=False)
    if predictions.rows is None:
        st.info("This table is too large to keep its rows, so there is no gallery.", icon=":material/hide_image:")
        return
    square = _open_square(matrices)
    _pick_square(matrices, square)
    if square is None:
        st.caption("Click a square above, or choose it here.")
        return
    cell, label, answer = square
    where = {} if cell < 0 else dict(zip(by, ([v] for v in matrices.keys[cell]), strict=True))
    rows = gallery.find(view, predictions, where, label=matrices.labels[label], prediction=matrices.labels[answer])
    name = "All rows" if cell < 0 else charts.cell_name(matrices.keys[cell])
    st.markdown(
        f"**{widgets.escape(name)}**, label **{widgets.escape(matrices.labels[label])}**, answered "
        f"**{widgets.escape(matrices.labels[answer])}**: {wording.count(len(rows), 'image')}"
    )
    gallery.paged(view, rows, key="confusion")


def _pick_square(matrices: Matrices, square: tuple[int, int, int] | None) -> None:
    cells = [-1, *range(len(matrices.keys))]
    names = {-1: "All rows", **{i: charts.cell_name(key) for i, key in enumerate(matrices.keys)}}
    at = square or (-1, 0, min(1, len(matrices.labels) - 1))
    open_now = square_text(matrices, at)  # in the keys: a click in a matrix moves the lists along
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cell = st.selectbox(
            "Group", cells, cells.index(at[0]), format_func=names.get, width=260, key=f"confusion_group_{open_now}"
        )
        label = st.selectbox("Label", matrices.labels, at[1], width=180, key=f"confusion_label_{open_now}")
        answer = st.selectbox("Answered", matrices.labels, at[2], width=180, key=f"confusion_answer_{open_now}")
        chosen = (cell, matrices.labels.index(label), matrices.labels.index(answer))
        if st.button("Show images", key="confusion_show", icon=":material/photo_library:") and chosen != square:
            st.query_params[SQUARE] = square_text(matrices, chosen)
            st.rerun()
