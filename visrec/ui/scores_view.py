"""Scores on the Metrics page: thresholds, ROC, calibration, and what recalibration would mend.

A *score* is the model's number in 0..1 for one class; `thresholds_view` draws what other thresholds would do.
"""

import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_curves, state, thresholds_view, widgets, wording

SHOWN_AT_FIRST = 4
NO_AUC_VERDICT = (
    "An AUC has an interval, but no verdict: the family of a table is the rates of the model's answers, and an AUC "
    "asks about scores before any threshold. Were it in the family, bringing scores along would change the verdicts "
    "of rates that need none."
)


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
    if not scores.size:
        widgets.empty_state(*wording.NO_PREDICTION)
        return
    thresholds_view.draw_thresholds(audit, scores)
    thresholds_view.draw_search(audit, scores)
    names = [charts.cell_name(key) for key in scores.keys]
    chosen = _choose_groups(audit, names)
    left, right = st.columns(2, gap="large")
    with left:
        draw_roc(audit, scores, names, chosen)
    with right:
        draw_calibration(audit, scores, names, chosen)
    draw_recalibration(audit)


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
    st.caption(NO_AUC_VERDICT)


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


RECALIBRATED = {
    "ece": "ECE as it is", "ece_one": "ECE, one curve", "ece_each": "ECE, a curve per group",
    "brier": "Brier as it is", "brier_one": "Brier, one curve", "brier_each": "Brier, a curve per group",
}  # fmt: skip


@st.fragment
def draw_recalibration(audit) -> None:
    """How far off the scores would be after recalibration, for all rows and for every group; cross-fitted."""
    if not st.toggle(
        "What recalibration would mend", key="recalibrate", bind="query-params",
        help="Platt's logistic curve from the old score to the new one: one curve for all rows, or one per group, "
        "which needs the group of every image when used.",
    ):  # fmt: skip
        return
    with st.spinner("Fitting on four fifths, counting on the fifth"):
        found = audit.recalibration
    share = found["n"] / found["n"].sum()
    whole = {name: float((found[name] * share).sum()) for name in RECALIBRATED}
    places = st.columns(3)
    for i, (name, title) in enumerate(RECALIBRATED.items()):
        change = whole[name] - whole[name.split("_")[0]]
        places[i % 3].metric(
            title, charts.rate_text(whole[name]), None if "_" not in name else f"{change:+.3f}",
            delta_color="inverse", help="Mean over the groups, weighted by their rows; 0 is perfect.",
        )  # fmt: skip
    st.caption(
        "Five-fold cross-fitted: every row's new score comes from a curve that was fitted without it. The expected "
        "calibration error (ECE) is above 0 by chance alone, more so in small groups; the Brier score is the mean "
        "squared error of the score."
    )
    audit_view.numbers(
        found, "recalibration", label="Every group before and after recalibration", rates=list(RECALIBRATED)
    )
