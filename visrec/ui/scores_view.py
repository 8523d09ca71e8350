"""Scores on the Metrics page: what another threshold would do to every group, ROC and calibration.

A *threshold* is the score from which on the outcome is answered. Moving it recounts the rows; rates, gaps and verdicts
follow from the new counts by the same engine as everywhere.
"""

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_curves, charts_rates, fairness_view, state, widgets, wording

RATES = ("accuracy", "tpr", "fpr", "ppv", "selection_rate")
SHOWN_AT_FIRST = 4


def draw(view: "state.View", audit) -> None:
    """The whole section, or what is missing for it."""
    predictions = audit_view.counted(view)
    if not predictions.has_scores:
        widgets.empty_state(
            "No scores",
            "Thresholds, ROC and calibration need the model's score for each class, and this table has none. Import it "
            "again with a column of scores (0 to 1), or with one column per class named score:<class>.",
        )
        return
    outcome = audit.question.outcome
    if outcome not in audit.labels:
        outcome = st.selectbox(
            "Scores of", audit.labels, len(audit.labels) - 1, key="score_of", bind="query-params", width=260,
            help="Scores speak for one class; the outcome in the sidebar is 'correct', so choose the class here.",
        )  # fmt: skip
        audit = audit_view.audit_of(view, audit.by, outcome=outcome)
    scores = audit.scores()
    draw_threshold(audit, scores)
    draw_search(audit, scores)
    names = [charts.cell_name(key) for key in scores.keys]
    chosen = _choose_groups(audit, names)
    left, right = st.columns(2, gap="large")
    with left:
        draw_roc(audit, scores, names, chosen)
    with right:
        draw_calibration(audit, scores, names, chosen)


@st.fragment
def draw_threshold(audit, scores) -> None:
    """The slider, with rates, gaps and verdicts at that threshold beside those of the model's own answers."""
    from visrec.audit.engine import cell_frame
    from visrec.audit.gaps import gap_table
    from visrec.audit.thresholds import table_at

    outcome = audit.question.outcome
    st.subheader("Another threshold", anchor=False)
    threshold = st.slider(
        f"Answer {outcome} from this score on", 0.0, 1.0, 0.5, 0.01, key="threshold", bind="query-params"
    )
    table = table_at(scores, threshold, outcome)
    cells, whole = cell_frame(table, audit.question), cell_frame(table.total(), audit.question).iloc[0]
    gaps = gap_table(table, audit.question)
    own = audit.overall.iloc[0]
    with st.container(horizontal=True):
        for rate in RATES:
            change = whole[rate] - own[rate]
            st.metric(
                wording.nice(audit_view.rate_name(rate)), charts.rate_text(whole[rate]),
                None if np.isnan(change) or abs(change) < 5e-4 else f"{change:+.3f}", delta_color="off", width=170,
                help=f"{audit_view.rate_meaning(rate)} Below: the change against the model's own answers.",
            )  # fmt: skip
    left, right = st.columns(2, gap="large")
    with left:
        audit_view.show_chart(
            charts_rates.gap_rows(fairness_view.gap_frame(gaps), title="largest minus smallest rate"),
            f"Gaps between the groups at the threshold {threshold:.2f}; grey is chance alone.",
            key="threshold_gaps",
        )
    with right:
        rate = st.selectbox(
            "Rate", RATES, 1, key="threshold_rate", format_func=lambda r: wording.nice(audit_view.rate_name(r))
        )
        cells.attrs["min_count"] = audit.question.min_count
        frame = audit_view.rate_frame(cells, audit.by, rate).sort_values(["small", "value"], kind="stable")
        audit_view.show_chart(
            charts_rates.cell_dots(
                fairness_view.ends_of(frame.reset_index(drop=True), 10), overall=float(whole[rate]),
                reference="all rows", title=audit_view.rate_name(rate),
            ),
            f"The lowest and highest groups at the threshold {threshold:.2f}.",
            key="threshold_rates",
        )  # fmt: skip
    st.caption("A threshold chosen by looking at these rows flatters these rows; check it on others before using it.")
    audit_view.numbers(gaps, "gaps_at_threshold", label="Gaps at this threshold as a table")
    audit_view.numbers(cells, "rates_at_threshold", label="Rates at this threshold as a table")


@st.fragment
def draw_search(audit, scores) -> None:
    """The threshold where a chosen gap is smallest, as five-fold cross-fitting finds it, with its cost."""
    if not st.toggle("Look for the threshold where a gap is smallest", key="threshold_search"):
        return
    from visrec.audit.thresholds import choose, sweep

    left, right = st.columns(2, gap="large")
    with left:
        rate = st.selectbox(
            "Gap in", ("tpr", "fpr", "selection_rate", "accuracy", "ppv"), key="search_rate",
            format_func=lambda r: wording.nice(audit_view.rate_name(r)),
        )  # fmt: skip
        each = st.toggle("One threshold per group", key="search_each", help="Needs the group of every image when used.")
        with st.spinner("Searching on four fifths, counting on the fifth"):
            found = choose(scores, audit.question, rate, per_cell=each)
        _say_choice(found, each)
    with right:
        audit_view.show_chart(
            charts_curves.sweep_lines(sweep(scores, rate, audit.question.min_count)),
            f"Gap in {audit_view.rate_name(rate)} (solid) and accuracy (dashed), one threshold for all.",
            key="threshold_sweep",
        )  # fmt: skip


def _say_choice(found, each: bool) -> None:
    with st.container(horizontal=True):
        for label, after, before in (
            ("Gap", found.fitted_gap, found.before_gap), ("Accuracy", found.fitted_accuracy, found.before_accuracy),
        ):  # fmt: skip
            change = after - before
            st.metric(
                label, charts.rate_text(after), None if np.isnan(change) else f"{change:+.3f}", delta_color="off",
                help="By five-fold cross-fitting, against the model's own answers.", width=170,
            )  # fmt: skip
    if each:
        table = pd.DataFrame({"group": [charts.cell_name(k) for k in found.keys], "threshold": found.thresholds})
        audit_view.numbers(table, "thresholds", label="Threshold of every group", rates=["threshold"])
    else:
        st.markdown(f"Threshold for all groups: **{found.thresholds[0]:.3f}**")
    st.caption(
        "Searched among thresholds that give up at most 0.02 of accuracy. On the rows searched the gap looks smaller "
        f"({charts.rate_text(found.gap)}); what counts is the cross-fitted figure above."
    )


def _choose_groups(audit, names: list[str]) -> list[str]:
    sizes = pd.Series(audit.table.predicted, index=audit.table.names())
    largest = [n for n in sizes.sort_values(ascending=False, kind="stable").index if n in names][:SHOWN_AT_FIRST]
    st.subheader("ROC and calibration", anchor=False)
    return st.multiselect(
        "Groups in the two charts", names, largest, key="score_groups", max_selections=charts_curves.AT_MOST,
        help="The largest groups at first; the tables below hold every group.",
    )  # fmt: skip


def draw_roc(audit, scores, names: list[str], chosen: list[str]) -> None:
    """ROC curves of the chosen groups and the AUC of every group."""
    from visrec.audit.scores import roc

    auc = audit.auc
    named = dict(zip(names, auc["auc"], strict=True))
    curves = {
        f"{name} (AUC {charts.rate_text(named[name])})": roc(scores, names.index(name), points=300) for name in chosen
    }
    if chosen:
        audit_view.show_chart(
            charts_curves.roc_curves(curves),
            "Up and to the left is better; the dotted line is guessing.", key="roc",
        )  # fmt: skip
    audit_view.numbers(auc, "auc", label="AUC of every group", rates=["auc", "low", "high"])


def draw_calibration(audit, scores, names: list[str], chosen: list[str]) -> None:
    """Calibration curves of the chosen groups and the figures of every group."""
    from visrec.audit.scores import calibration

    least = max(5, audit.question.min_count // 3)
    if chosen:
        curves = {name: calibration(scores, names.index(name)) for name in chosen}
        audit_view.show_chart(
            charts_curves.calibration_curves(curves, min_count=least),
            f"On the dotted line a score means what it says. Points rest on at least {least} rows.", key="calibration",
        )  # fmt: skip
    audit_view.numbers(
        audit.calibration, "calibration", label="Calibration of every group",
        rates=["mean_score", "observed", "low", "high", "calibration_gap", "ece", "brier"],
    )  # fmt: skip
