"""The audit of the view: counted once, asked again and again; and the small pieces that the Trust pages share.

Reading and counting a table takes seconds at a million rows, any question to the counts milliseconds. So the counted
predictions of a run are kept, and so is each audit that was asked for: a slicer that changes reads nothing again.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from visrec.ui import cached, charts, state, widgets, wording

BY = "by"
"""Query parameter, and widget key, of the attributes that split a page into cells."""

TARGET_GAP = 0.05
"""The gap that the planner plans for: what `Audit.planner` takes when nobody asks for another."""


def rate_name(rate: str) -> str:
    """A rate in running text, spelled out.

    >>> rate_name("tpr"), rate_name("f1"), rate_name("selection_rate")
    ('true positive rate', 'F1', 'selection rate')
    """
    from visrec.audit.metric_text import RATE_TEXT

    title = RATE_TEXT[rate].title if rate in RATE_TEXT else rate.replace("_", " ")
    return title if title[1:2].isdigit() else title[:1].lower() + title[1:]


def rate_meaning(rate: str) -> str:
    """What a rate says, in one sentence for a reader without statistics.

    >>> rate_meaning("accuracy")
    'Of all images, how many are answered rightly.'
    """
    from visrec.audit.metric_text import RATE_TEXT

    return RATE_TEXT[rate].plain if rate in RATE_TEXT else ""


def counted(view: "state.View"):
    """The counted predictions of the view's split (`visrec.audit.predictions.Predictions`); shared, never changed."""
    return _counted(cached.settings().runs, view.run.id, view.split, view.attributes, view.labels)


@st.cache_resource(max_entries=6, show_spinner="Counting the predictions")
def _counted(url: str, run_id: str, split: str, attributes: tuple[str, ...], labels: tuple[str, ...]):
    from visrec.audit.predictions import load_predictions

    return load_predictions(
        cached.predictions(run_id), split=split or None, attributes=list(attributes), labels=list(labels)
    )


def audit_of(view: "state.View", by: Sequence[str], *, outcome: str | None = None, privileged: tuple = ()):
    """The audit of the view (`visrec.audit.engine.Audit`) over a crossing; kept, since it computes lazily.

    Parameters
    ----------
    by : attributes to cross
    outcome : the view's own when None
    privileged : reference group as ((attribute, (value, ...)), ...); empty takes the most frequent
    """
    where = tuple((name, tuple(values)) for name, values in sorted(view.where.items()))
    return _audit(
        cached.settings().runs, view.run.id, view.split, view.attributes, view.labels,
        tuple(by), outcome or view.outcome, privileged, where, view.min_count,
    )  # fmt: skip


@st.cache_resource(max_entries=64, show_spinner=False)
def _audit(url, run_id, split, attributes, labels, by, outcome, privileged, where, min_count):
    return _any_count(url, run_id, split, attributes, labels, by, outcome, privileged, where).asking(min_count)


@st.cache_resource(max_entries=16, show_spinner=False)
def _any_count(url, run_id, split, attributes, labels, by, outcome, privileged, where):
    """The audit before its minimum count: rates and intervals do not depend on it."""
    from visrec.audit.engine import audit

    predictions = _counted(url, run_id, split, attributes, labels)
    return audit(
        predictions,
        by=by,
        outcome=outcome,
        privileged={name: list(values) for name, values in privileged} or None,
        where={name: list(values) for name, values in where},
    )


def choose_by(view: "state.View", *, most: int, label: str = "Split by") -> tuple[str, ...]:
    """Let the visitor choose the attributes that make cells; kept in the URL as ``by``.

    Returns
    -------
    tuple of str
        Empty when the predictions have no attribute at all; a note then says what would be needed to compare groups.
    """
    if not view.attributes:
        st.info(
            "These predictions have no attribute, so there are no groups to compare; what follows is about all rows. "
            "Groups need a column such as race or age, in the bucket's labels or in the imported table.",
            icon=":material/group_off:",
        )
        return ()
    if BY in st.session_state:  # another run, or a page that allows fewer
        st.session_state[BY] = [name for name in st.session_state[BY] if name in view.attributes][:most]
    before = [name for name in st.session_state.get("_by") or () if name in view.attributes][:most]
    chosen = st.multiselect(
        label,
        view.attributes,
        default=None if BY in st.session_state else before or list(default_by(view))[:most],
        key=BY,
        bind="query-params",
        max_selections=most,
        help=f"Up to {most} attributes; each combination of their values is one group.",
    )
    st.session_state["_by"] = chosen
    return tuple(chosen) or (view.attributes[0],)


def default_by(view: "state.View") -> tuple[str, ...]:
    """What a page is split by before anybody chose: what the run was told to watch, at most two."""
    named = [name for name in view.run.watched if name in view.attributes]
    return tuple(named or view.attributes)[:2]


def show_chart(figure: go.Figure, summary: str, *, key: str, **options):
    """Draw a chart in the page's theme, with a sentence that says what it shows for those who cannot see it."""
    event = widgets.chart(figure, key=key, **options)
    st.caption(summary)
    return event


def sideways(key: str, least: int):
    """A container that scrolls sideways where the page is narrower than ``least`` pixels."""
    st.html(f"<style>.st-key-{key} {{ overflow-x: auto; }} .st-key-{key} > div {{ min-width: {least}px; }}</style>")
    return st.container(key=key)


def numbers(
    frame: pd.DataFrame | Callable[[], pd.DataFrame],
    name: str,
    *,
    rates: Sequence[str] = (),
    label: str = "Numbers as a table",
) -> None:
    """A chart's numbers as a table and a CSV: rounded on screen to three digits, whole in the download.

    The table is made, and sent to the browser, when it is opened: a slicer redraws the charts twice as fast without it.

    Parameters
    ----------
    frame : the table, or what makes it
    rates : columns that are rounded on screen
    """
    _numbers(frame, name, tuple(rates), label)


@st.fragment
def _numbers(frame, name: str, rates: tuple[str, ...], label: str) -> None:
    place = st.expander(label, icon=":material/table:", key=f"open_{name}", on_change="rerun")
    if not place.open:
        return
    frame = frame() if callable(frame) else frame
    config = {c: st.column_config.NumberColumn(column_title(c), format="%.3f") for c in rates if c in frame}
    config |= {c: column_title(c) for c in frame.columns if c not in config}
    with place:
        st.dataframe(frame, hide_index=True, width="stretch", alt=label, column_config=config)
        widgets.download_csv(frame, name)


def column_title(column: str) -> str:
    """A column's heading for people; the download keeps the name.

    >>> column_title("tpr_low"), column_title("null_high"), column_title("p_holm"), column_title("race")
    ('true positive rate, low', 'chance, high', 'p (Holm)', 'race')
    """
    known = {"p_holm": "p (Holm)", "n": "n", "absent": "no answer", "enough": "enough images", "excess": "above chance"}
    if column in known:
        return known[column]
    stem, _, end = column.rpartition("_")
    if end in ("low", "high", "mean", "n", "value") and stem:
        return f"{'chance' if stem == 'null' else rate_name(stem)}, {end}"
    return rate_name(column)


def show_skipped(view: "state.View", predictions) -> None:
    """Rows that are in no figure, with why; nothing is drawn when there are none."""
    told = [(s.reason, s.count, s.examples) for s in predictions.skipped]
    told += [(s["reason"], s["count"], s["examples"]) for s in view.run.skipped]
    if not told:
        return
    total = sum(count for _, count, _ in told)
    with st.expander(f"{wording.count(total, 'row')} left out", icon=":material/rule:"):
        for reason, count, examples in told:
            shown = ", ".join(widgets.escape(e) for e in examples[:5])
            st.markdown(f"- {count:,} × {widgets.escape(reason)}" + (f": {shown}" if shown else ""))


def rate_frame(cells: pd.DataFrame, by: Sequence[str], rate: str) -> pd.DataFrame:
    """One rate of a cell table as a chart draws it: ``cell``, ``value``, ``low``, ``high``, ``n``, ``small``.

    A cell is small for a rate when the rows the rate rests on are fewer than the minimum; the count of a rate is that
    of its own denominator. ``cells`` carries the minimum count in ``attrs["min_count"]``.
    """
    n = cells[f"{rate}_n"].to_numpy("int64")
    value, low, high = (cells[name].to_numpy(float) for name in (rate, f"{rate}_low", f"{rate}_high"))
    keys = zip(*(cells[name].tolist() for name in by), strict=True)
    return pd.DataFrame(
        {
            "cell": [charts.cell_name(key) for key in keys] if len(by) else ["all"],
            "value": value,
            "low": low,
            "high": high,
            "n": n,
            "small": (n < max(cells.attrs.get("min_count", 1), 1)) | np.isnan(value),
        },
        index=cells.index,
    )


def cells_of(audit, by: Sequence[str] | None = None) -> pd.DataFrame:
    """The cells of the audit's crossing, or of one of its attributes, marked with the minimum count."""
    frame = audit.cells if by is None or tuple(by) == tuple(audit.by) else audit.marginals[by[0]]
    frame = frame.copy(deep=False)
    frame.attrs["min_count"] = audit.question.min_count
    return frame


def with_interval(value: float, low: float, high: float) -> str:
    """A rate with half its interval's width, as a headline says it.

    >>> with_interval(0.878, 0.866, 0.89)
    '0.878 ±0.012'
    """
    text = wording.number(value)
    return text if text == "unknown" else f"{text} ±{(high - low) / 2:.3f}"


def links(pages: Sequence[str]) -> None:
    """Where to go from here, with the run and the slice kept."""
    from visrec.ui import frame, navigation

    words = {
        "overview": ("Overview", ":material/dashboard:"),
        "confusion": ("See the matrices", ":material/grid_on:"),
        "fairness": ("See the metrics", ":material/balance:"),
        "explain": ("Explain single answers", ":material/center_focus_strong:"),
        "predictions": ("Audit another table", ":material/upload_file:"),
    }
    with st.container(horizontal=True):
        for page in pages:
            label, icon = words[page]
            if navigation.exists(page) and st.button(label, icon=icon, key=f"link_{page}"):
                frame.go(page)
