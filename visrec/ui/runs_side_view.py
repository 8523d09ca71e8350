"""Runs side by side: their curves in one chart, and the gap between groups of each, with its verdict."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from visrec.errors import InputError, VisrecError
from visrec.ui import cached, charts, widgets, wording

CURVES = {"tune_accuracy": "accuracy on tune", "tune_loss": "loss on tune", "accuracy": "accuracy on train"}
AT_MOST = len(charts.SERIES)
"""More runs than this cannot be told apart in one chart."""
WATCHED = 3
"""So many attributes at most are compared where a run names none to watch."""


def show_curves(rows: dict) -> None:
    """One line per run over its passes; runs without a history (imported ones) have none.

    Parameters
    ----------
    rows : name to show -> row of the list of runs
    """
    histories = {name: history for name, row in rows.items() if not (history := _history(row)).empty}
    known = [c for c in CURVES if any(c in history for history in histories.values())]
    if not known:
        return
    st.markdown("**Curves**")
    chosen = st.segmented_control(
        "Curve", known, default=known[0], format_func=CURVES.get, key="runs_curve", label_visibility="collapsed"
    )
    chosen = chosen or known[0]
    shown = dict(list(histories.items())[:AT_MOST])
    widgets.chart(curves(shown, chosen), key="runs_curves", alt=f"{CURVES[chosen]} of each run, pass by pass")
    widgets.table(as_table(shown, chosen), "runs-curves", label="Curves as a table")


def _history(row) -> pd.DataFrame:
    try:
        return cached.run(row.id).history()
    except VisrecError:
        return pd.DataFrame()


def curves(histories: dict[str, pd.DataFrame], column: str) -> go.Figure:
    """One column of several histories over the passes, told apart by colour, dash and symbol."""
    figure = charts.blank(280, margin={"r": 8, "t": 34, "b": 36, "l": 44})
    for position, (name, history) in enumerate(histories.items()):
        if column not in history:
            continue
        figure.add_scatter(
            x=list(range(1, len(history) + 1)), y=history[column], name=charts.escape(name), mode="lines+markers",
            line={"color": charts.SERIES[position], "width": 2, "dash": charts.DASHES[position % len(charts.DASHES)]},
            marker={"symbol": charts.SYMBOLS[position % len(charts.SYMBOLS)], "size": 6},
            hovertemplate=f"{charts.escape(name)}, pass %{{x}}: %{{y:.4f}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}}
    )
    figure.update_xaxes(title="pass", showgrid=False, rangemode="tozero")
    figure.update_yaxes(showgrid=True, gridcolor=charts.FAINT)
    return figure


def as_table(histories: dict[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """The drawn numbers: a row per pass, a column per run.

    >>> as_table({"a": pd.DataFrame({"x": [1, 2]}), "b": pd.DataFrame({"x": [3]})}, "x").to_dict("list")
    {'pass': [1, 2], 'a': [1.0, 2.0], 'b': [3.0, nan]}
    """
    found = {n: h[column].reset_index(drop=True).astype(float) for n, h in histories.items() if column in h}
    table = pd.DataFrame(found)
    table.insert(0, "pass", range(1, len(table) + 1))
    return table


def show_gaps(rows: dict) -> None:
    """For each run and watched attribute: how far apart the groups' accuracies are, and whether that is chance."""
    parts = [
        _gaps(cached.settings().runs, row.id).assign(run=name)
        for name, row in rows.items()
        if row.usable and row.attributes
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return
    table = pd.concat(parts, ignore_index=True)
    st.markdown("**Gaps between groups**")
    st.dataframe(
        table.assign(worst=[_worst(row) for row in table.itertuples()])[list(_COLUMNS)],
        hide_index=True,
        width="stretch",
        column_config=_COLUMNS,
        alt="Gap in accuracy between the groups of each attribute, for each run",
    )
    st.caption(
        "A gap is the highest minus the lowest accuracy among groups with enough images; chance alone would show up to "
        "the figure beside it. Metrics has every other rate."
    )
    widgets.download_csv(table, "runs-gaps")


def _worst(row) -> str:
    return f"{row.worst_cell}, {wording.number(row.worst_value)} (n = {row.worst_n:,})" if row.worst_cell else "unknown"


@st.cache_resource(max_entries=64, show_spinner="Comparing the groups of each run")
def _gaps(url: str, run_id: str) -> pd.DataFrame:
    from visrec.audit.engine import audit
    from visrec.audit.predictions import load_predictions
    from visrec.audit.splits import default_split

    run = cached.run(run_id)
    table = cached.predictions(run_id)
    names = [n for n in run.record.get("by") or run.record.get("attributes") or () if n in table][:WATCHED]
    if not names:
        return pd.DataFrame()
    try:
        split = default_split(table)
    except InputError:  # every image was seen in training: there is nothing to judge the groups by
        return pd.DataFrame()
    counted = load_predictions(table, split=split, attributes=names, labels=run.labels())
    found = audit(counted, by=tuple(names), outcome="correct").marginal_gaps
    rows = []
    for name, frame in found.items():
        gap = frame[frame["rate"] == "accuracy"].iloc[0]
        rows.append(
            {
                "attribute": name, "gap": gap["value"], "low": gap["low"], "high": gap["high"],
                "chance": gap["null_high"], "verdict": gap["verdict"], "worst_cell": gap["worst"] or "",
                "worst_value": gap["worst_value"], "worst_n": int(gap["worst_n"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


_NUMBER = st.column_config.NumberColumn
_COLUMNS = {
    "run": "Run",
    "attribute": "Attribute",
    "gap": _NUMBER("Gap in accuracy", format="%.3f"),
    "low": _NUMBER("Low", format="%.3f"),
    "high": _NUMBER("High", format="%.3f"),
    "chance": _NUMBER("Chance alone, up to", format="%.3f"),
    "verdict": "Verdict",
    "worst": "Lowest group",
}
