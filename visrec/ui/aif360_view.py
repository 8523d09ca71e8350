"""AIF360's metrics on the Metrics page: two groups, every comparison in charts by unit, one table with plain words.

A *privileged group* is AIF360's word for the reference: differences are the others minus it, ratios the others divided
by it. AIF360 itself is imported when this section is first opened, behind a spinner.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_heat, charts_rows, fairness_view, state, widgets, wording

REST = "everybody else"


def choose_groups(view: "state.View", by: Sequence[str]) -> tuple[str, str, str]:
    """The privileged group and whom it is compared with: attribute, value, value of the others or `REST`."""
    attribute = by[0]
    left, middle, right = st.columns(3)
    with left:
        if len(by) > 1:
            attribute = st.selectbox("Compare by", by, key="compare_by", bind="query-params", format_func=wording.nice)
    table = audit_view.audit_of(view, by).cube.table((attribute,))
    values, counts = [key[0] for key in table.keys], table.predicted
    with middle:
        chosen = st.selectbox(
            "Privileged group", values, int(np.argmax(counts)), key="privileged", bind="query-params",
            help="AIF360 needs one reference group. Differences are the others minus it, ratios the others divided "
            "by it.",
        )  # fmt: skip
    with right:
        others = st.selectbox(
            "Compared with", [REST, *(v for v in values if v != chosen)], key="versus", bind="query-params"
        )
    return attribute, chosen, others


def aif360_audit(view: "state.View", by: Sequence[str], attribute: str, privileged: str, versus: str):
    """The audit that AIF360's metrics are taken from: filtered to the two groups when one is compared with one."""
    import dataclasses

    if versus != REST:
        view = dataclasses.replace(view, where={**view.where, attribute: [privileged, versus]})
    return audit_view.audit_of(view, by, privileged=((attribute, (privileged,)),))


FAMILIES = {
    "Differences": ("unprivileged minus privileged", "alike"),
    "Ratios": ("unprivileged divided by privileged", "alike"),
    "Differential fairness": ("largest log ratio between any two groups", "alike"),
    "Entropy": ("inequality of right and wrong answers", "alike"),
}
"""AIF360's comparisons by unit: only what has one unit may share an axis."""


def family_of(metric: str, ideal: float) -> str:
    """Which chart a comparison belongs to.

    >>> family_of("disparate_impact", 1.0), family_of("average_odds_difference", 0.0)
    ('Ratios', 'Differences')
    >>> family_of("smoothed_empirical_differential_fairness", 0.0), family_of("between_group_theil_index", 0.0)
    ('Differential fairness', 'Entropy')
    """
    if ideal == 1:
        return "Ratios"
    if "differential_fairness" in metric:
        return "Differential fairness"
    return "Entropy" if metric.startswith("between_") else "Differences"


def metric_rows(table: pd.DataFrame, family: str) -> pd.DataFrame:
    """The comparisons of one of `FAMILIES`, as `charts_rows.gap_rows` draws them; aliases are in the table only."""
    from visrec.audit.formulas import ALIASES
    from visrec.audit.metric_text import aif360_text

    shown = table[(table["kind"] == "comparison") & ~table["metric"].isin(list(ALIASES))]
    shown = shown[~shown["metric"].str.startswith("labels_") | shown["metric"].str.contains("differential")]
    families = [family_of(m, i) for m, i in zip(shown["metric"], shown["ideal"], strict=True)]
    shown = shown[np.array(families, dtype=object) == family]
    names = [aif360_text(metric).title for metric in shown["metric"]]
    return shown.reset_index(drop=True).assign(name=names)


def metric_display(table: pd.DataFrame) -> pd.DataFrame:
    """The AIF360 table for people: rounded text, one plain sentence each."""
    from visrec.audit.metric_text import aif360_text

    def ends(row, low: str, high: str) -> str:
        if not np.isfinite([row[low], row[high]]).all():
            return ""
        return f"{charts.rate_text(row[low])} to {charts.rate_text(row[high])}"

    rows = []
    for row in table.to_dict("records"):
        text = aif360_text(row["metric"])
        rows.append(
            {
                "Metric": text.title,
                "Value": row["value"],
                "95 % interval": ends(row, "low", "high"),
                "Chance alone": ends(row, "null_low", "null_high"),
                "Ideal": row["ideal"],
                "Convention": ends(row, "band_low", "band_high"),
                "Verdict": row["verdict"] or "",
                "In plain words": text.plain,
                "Formula": text.definition,
                "Name in AIF360": row["metric"],
            }
        )
    return pd.DataFrame(rows)


def draw_aif360(view: "state.View", by: Sequence[str]) -> None:
    """Controls, charts, table, and each group against the rest."""
    attribute, privileged, versus = choose_groups(view, by)
    audit = aif360_audit(view, by, attribute, privileged, versus)
    with st.spinner("Asking AIF360 (its first use takes some seconds)"):
        table = audit.aif360
    if table.empty:
        widgets.empty_state(*wording.NO_PREDICTION)
        return
    st.caption(
        f"Privileged: {wording.nice(attribute)} {widgets.escape(privileged)}. Compared with: {widgets.escape(versus)}. "
        f"Outcome: {widgets.escape(audit.question.outcome)}. Conventional bands are shown in the table; they decide "
        "nothing."
    )
    left, right = st.columns(2, gap="large")
    for family in FAMILIES:
        with left if family == "Differences" else right:
            _metric_chart(metric_rows(table, family), family)
    st.subheader("All metrics", anchor=False)
    compares = table[table["kind"] == "comparison"]
    everything = st.toggle("Rates and counts too", key="aif360_all")
    shown = metric_display(table if everything else compares)
    number = st.column_config.NumberColumn
    st.dataframe(
        shown, hide_index=True, width="stretch", alt="Every AIF360 metric with interval, chance band and verdict",
        column_config={"Value": number(format="%.3f"), "Ideal": number(format="%.0f")},
    )  # fmt: skip
    widgets.download_csv(table, f"aif360_{attribute}_{widgets.file_stem(privileged)}")
    _say_left_out()
    if versus == REST and st.toggle("Each group against the rest", key="aif360_groups"):
        _draw_each_group(audit)


def _say_left_out() -> None:
    from visrec.audit.aif360_metrics import LEFT_OUT

    st.caption(
        "Not in the table: " + "; ".join(f"{name.replace('_', ' ')} ({why})" for name, why in LEFT_OUT.items()) + "."
    )


def _metric_chart(rows: pd.DataFrame, family: str) -> None:
    if rows.empty:
        if family == "Differences":
            st.info("Nothing to compare here: choose a class as outcome in the sidebar to see error rates apart.")
        return
    title, ideal_name = FAMILIES[family]
    st.subheader(family, anchor=False)
    audit_view.show_chart(
        charts_rows.gap_rows(rows, title=title, ideal_name=ideal_name),
        "Grey: chance alone. Dot and line: value and 95 % interval.",
        key=f"aif360_{family}",
    )


def _draw_each_group(audit) -> None:
    with st.spinner("Asking AIF360 about each group"):
        table = audit.aif360_groups
    wanted = ["statistical_parity_difference", "true_positive_rate_difference", "false_positive_rate_difference",
              "error_rate_difference", "average_abs_odds_difference", "disparate_impact"]  # fmt: skip
    shown = table[table["by"] == (" × ".join(audit.by) if len(table) <= 60 else audit.by[0])]
    values = shown.set_index("group")[[c for c in wanted if c in shown and shown[c].notna().any()]]
    if len(values.columns):
        small = pd.DataFrame(
            np.repeat((shown["n"] < audit.question.min_count).to_numpy()[:, None], len(values.columns), axis=1),
            index=values.index, columns=values.columns,
        )  # fmt: skip
        counts = small.astype(float).mul(0).add(shown.set_index("group")["n"], axis=0)
        names = {c: c.replace("_", " ") for c in values.columns}
        figure = charts_heat.heat_table(
            values.rename(columns=names), counts=counts.rename(columns=names), small=small.rename(columns=names)
        )
        fairness_view.wide(figure, 96 * len(values.columns) + 150, "aif360_heat")
    audit_view.numbers(table, "aif360_groups", label="Each group against the rest, as a table")
