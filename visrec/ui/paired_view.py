"""Two runs on the same images, on a page: a sentence, a chart of the differences, the numbers, what did not pair."""

import pandas as pd
import streamlit as st

from visrec.errors import VisrecError
from visrec.ui import cached, charts, charts_rows, widgets

MOST_ROWS = 40
"""So many differences are drawn; the table has all of them."""


def show(rows: list) -> bool:
    """Compare two of the runs ticked; False, and nothing drawn, where fewer than two have predictions."""
    usable = sorted((row for row in rows if row.usable), key=lambda row: row.id)
    if len(usable) < 2:
        return False
    st.markdown("**On the same images**")
    first, second, by = _choose(usable)
    if first.id == second.id:
        st.caption("Choose two different runs to compare.")
        return True
    from visrec.audit.paired import sentence
    from visrec.runs.compare import distinct_names

    try:
        found = _comparison(cached.settings().runs, first.id, second.id, by)
        names = distinct_names(cached.run(first.id).record, cached.run(second.id).record)
    except VisrecError as error:
        st.info(widgets.escape(str(error)), icon=":material/info:")
        return True
    st.markdown(widgets.escape(sentence(found, *names)))  # named by now: what is kept knows a run by its id alone
    widgets.chart(
        charts_rows.gap_rows(chart_rows(found), title="difference in accuracy", ideal_name="no difference"),
        key="paired_chart", alt="Difference in accuracy of the two runs, overall and by group",
    )  # fmt: skip
    st.caption(
        f"Right of the line: {widgets.escape(second.name)} is better. Paired on the {found.overall['n']:,} images "
        "that both answered; McNemar's test, Holm's correction over the groups."
    )
    widgets.table(as_table(found), "runs-paired", label="Differences as a table", column_config=_COLUMNS)
    for item in found.skipped:
        shown = ", ".join(item["examples"])
        st.caption(widgets.escape(f"Left out: {item['count']:,} {item['reason']} ({shown})."))
    return True


def _choose(usable: list) -> tuple:
    """The run to compare with (the oldest, unless said otherwise), the other one, and the attributes."""
    from visrec.runs.compare import default_by

    first, second = usable[0], usable[-1]
    attributes = list(dict.fromkeys(name for row in (first, second) for name in row.attributes))
    watched = default_by(cached.run(first.id).record, cached.run(second.id).record, attributes)
    columns = st.columns(3)
    if len(usable) > 2:
        names = {row.id: f"{row.name} ({row.id[-4:]})" for row in usable}
        by_id = {row.id: row for row in usable}
        first, second = (
            by_id[column.selectbox(label, list(by_id), at, format_func=names.get, key=f"paired_{label}")]
            for column, label, at in zip(columns, ("Compare", "with"), (0, len(usable) - 1), strict=False)
        )
    last = columns[2] if len(usable) > 2 else columns[0]
    by = last.multiselect("Groups by", attributes, default=watched, key="paired_by") if attributes else []
    return first, second, tuple(by)


@st.cache_resource(max_entries=16, show_spinner="Comparing image by image")
def _comparison(url: str, first: str, second: str, by: tuple[str, ...]):
    from visrec.runs.compare import compare_runs

    return compare_runs(cached.run(first), cached.run(second), by=by)


def chart_rows(found) -> pd.DataFrame:
    """Rows for the chart: all images first, then the groups with enough of them, as many as can be drawn."""
    rows = pd.concat([pd.DataFrame([{"cell": "all images", **found.overall}]), found.cells], ignore_index=True)
    rows = rows[rows["n"] >= found.min_count].head(MOST_ROWS) if len(rows) > 1 else rows
    nothing = {"null_low": float("nan"), "null_high": float("nan"), "ideal": 0.0}
    names = [f"{cell} (n = {charts.count_text(n)})" for cell, n in zip(rows["cell"], rows["n"], strict=True)]
    return rows.assign(name=names, value=rows["difference"], **nothing)


def as_table(found) -> pd.DataFrame:
    """Every difference, small groups included, for people."""
    overall = pd.DataFrame([{"cell": "all images", **found.overall}])
    rows = pd.concat([overall, found.cells], ignore_index=True)
    return rows[list(_COLUMNS)]


_NUMBER = st.column_config.NumberColumn
_COLUMNS = {
    "cell": "Group",
    "n": "Images",
    "accuracy_a": _NUMBER("First run", format="%.3f"),
    "accuracy_b": _NUMBER("Second run", format="%.3f"),
    "difference": _NUMBER("Difference", format="%+.3f"),
    "low": _NUMBER("Low", format="%+.3f"),
    "high": _NUMBER("High", format="%+.3f"),
    "only_a": _NUMBER("Only first right"),
    "only_b": _NUMBER("Only second right"),
    "p_holm": _NUMBER("p (Holm)", format="%.3f"),
    "verdict": "Verdict",
}
