"""Thresholds on the Metrics page: set by hand for all groups or for each, or searched, with what follows from them.

A *threshold* is the score from which on the outcome is answered. Moving it recounts the rows; rates, gaps and verdicts
follow from the new counts by the same engine as everywhere. A group with a threshold of its own needs its attribute
when the model is used.
"""

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_curves, charts_rows, fairness_view, frame, widgets, wording

RATES = ("accuracy", "tpr", "fpr", "ppv", "selection_rate")
COMMON = "threshold"
"""Widget key and query parameter of the threshold of every group that has none of its own."""

OWN = "own_threshold"
"""Widget key and query parameter of the groups with a threshold of their own."""

STEP = 0.005
"""The step of `visrec.audit.thresholds.EDGES`, so that a threshold that was searched can be set by hand."""

_FOUND = "_found_thresholds"
AT_MOST = 21
"""Thresholds found for more groups than this are not put on sliders; the table holds them."""


def own_key(group: str) -> str:
    """Widget key, and so query parameter, of one group's threshold.

    >>> own_key("White · 3-9")
    'threshold_White · 3-9'
    """
    return f"{COMMON}_{group}"


def choose_limits(names: list[str], outcome: str) -> np.ndarray:
    """The threshold of every group, set by hand: float64 (groups,); all of it lives in the URL."""
    _take_found()
    common = st.slider(
        f"Answer {outcome} from this score on", 0.0, 1.0, 0.5, STEP, key=COMMON, bind="query-params", format="%.3f"
    )
    if OWN in st.session_state:  # another crossing has other groups
        st.session_state[OWN] = [name for name in st.session_state[OWN] if name in names]
    own = st.multiselect(
        "Groups with a threshold of their own", names, key=OWN, bind="query-params", placeholder="none",
        help="Needs the group of every image when the model is used.",
    )  # fmt: skip
    limits = np.full(len(names), common)
    places = st.columns(3) if own else ()
    for i, name in enumerate(own):
        limits[names.index(name)] = places[i % 3].slider(
            widgets.escape(name), 0.0, 1.0, common, STEP, key=own_key(name), bind="query-params", format="%.3f"
        )
    return limits


@st.fragment
@frame.guard()
def draw_thresholds(audit, scores) -> None:
    """The sliders, with rates, gaps and verdicts at those thresholds beside those of the model's own answers."""
    from visrec.audit.document import family_of
    from visrec.audit.engine import cell_frame
    from visrec.audit.gaps import gap_table
    from visrec.audit.thresholds import table_at

    outcome = audit.question.outcome
    st.subheader("Other thresholds", anchor=False)
    limits = choose_limits([charts.cell_name(key) for key in scores.keys], outcome)
    table = table_at(scores, limits, outcome)
    cells, whole = cell_frame(table, audit.question), cell_frame(table.total(), audit.question).iloc[0]
    gaps = gap_table(table, audit.question)
    _draw_changes(whole, audit.overall.iloc[0])
    left, right = st.columns(2, gap="large")
    with left:
        audit_view.show_chart(
            charts_rows.gap_rows(fairness_view.gap_frame(gaps), title="largest minus smallest rate"),
            f"Gaps between the groups {limits_text(limits)}; grey is chance alone.",
            key="threshold_gaps",
        )
    with right:
        rate = st.selectbox(
            "Rate", RATES, 1, key="threshold_rate", bind="query-params",
            format_func=lambda r: wording.nice(audit_view.rate_name(r)),
        )  # fmt: skip
        cells.attrs["min_count"] = audit.question.min_count
        shown = audit_view.rate_frame(cells, audit.by, rate).sort_values(["small", "value"], kind="stable")
        audit_view.show_chart(
            charts_rows.cell_dots(
                fairness_view.ends_of(shown.reset_index(drop=True), 10), overall=float(whole[rate]),
                reference="all rows", title=audit_view.rate_name(rate),
            ),
            f"The lowest and highest groups {limits_text(limits)}.",
            key="threshold_rates",
        )  # fmt: skip
    st.caption(
        widgets.escape(family_of(gaps, audit.by))
        + " A threshold chosen by looking at these rows flatters these rows; check it on others before using it."
    )
    audit_view.numbers(gaps, "gaps_at_threshold", label="Gaps at these thresholds as a table")
    audit_view.numbers(
        cells.assign(threshold=limits), "rates_at_threshold", label="Rates at these thresholds as a table"
    )


def limits_text(limits: np.ndarray) -> str:
    """How a caption names thresholds.

    >>> limits_text(np.array([0.5, 0.5])), limits_text(np.array([0.5, 0.62]))
    ('at the threshold 0.500', 'at thresholds from 0.500 to 0.620')
    """
    low, high = limits.min(), limits.max()
    return f"at the threshold {low:.3f}" if low == high else f"at thresholds from {low:.3f} to {high:.3f}"


def _draw_changes(whole: pd.Series, own: pd.Series) -> None:
    with st.container(horizontal=True):
        for rate in RATES:
            change = whole[rate] - own[rate]
            st.metric(
                wording.nice(audit_view.rate_name(rate)), charts.rate_text(whole[rate]),
                None if np.isnan(change) or abs(change) < 5e-4 else f"{change:+.3f}", delta_color="off", width=170,
                help=f"{audit_view.rate_meaning(rate)} Below: the change against the model's own answers.",
            )  # fmt: skip


@st.fragment
@frame.guard()
def draw_search(audit, scores) -> None:
    """The threshold where a chosen gap is smallest, as five-fold cross-fitting finds it, with its cost."""
    if not st.toggle("Look for the threshold where a gap is smallest", key="threshold_search", bind="query-params"):
        return
    from visrec.audit.thresholds import choose, sweep

    left, right = st.columns(2, gap="large")
    with left:
        rate = st.selectbox(
            "Gap in", ("tpr", "fpr", "selection_rate", "accuracy", "ppv"), key="search_rate", bind="query-params",
            format_func=lambda r: wording.nice(audit_view.rate_name(r)),
        )  # fmt: skip
        each = st.toggle(
            "One threshold per group", key="search_each", bind="query-params",
            help="Needs the group of every image when used.",
        )  # fmt: skip
        with st.spinner("Searching on four fifths, counting on the fifth"):
            found = choose(scores, audit.question, rate, per_cell=each)
        _say_choice(found, each)
    with right:
        audit_view.show_chart(
            charts_curves.sweep_lines(sweep(scores, rate, audit.question.min_count)),
            f"Gap in {audit_view.rate_name(rate)} (solid) and accuracy (dashed), one threshold for all.",
            key="threshold_sweep",
        )  # fmt: skip
    audit_view.numbers(found.gaps, "gaps_searched", label="Cross-fitted gaps and verdicts as a table")


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
    names = [charts.cell_name(key) for key in found.keys]
    if each:
        table = pd.DataFrame({"group": names, "threshold": found.thresholds})
        audit_view.numbers(table, "thresholds", label="Threshold of every group", rates=["threshold"])
    else:
        st.markdown(f"Threshold for all groups: **{found.thresholds[0]:.3f}**")
    verdicts = dict(zip(found.gaps["rate"], found.gaps["verdict"], strict=True))
    # a rate without a row to rest on, such as the FPR where every label is the same, has no verdict
    said = verdicts.get(found.rate, "unknown, no row has the label that this rate rests on")
    st.markdown(f"Verdict on the gap that is left, cross-fitted: **{said}**")
    st.caption(
        "Searched among thresholds that give up at most 0.02 of accuracy. On the rows searched the gap looks smaller "
        f"({charts.rate_text(found.gap)}); what counts is the cross-fitted figure above."
    )
    few = not each or len(names) <= AT_MOST
    if few and st.button("Set the sliders above to it", key="threshold_use", icon=":material/tune:"):
        limits = dict(zip(names, found.thresholds.tolist(), strict=True))
        st.session_state[_FOUND] = (names if each else [], limits)
        st.rerun()


def _take_found() -> None:
    """Put thresholds that were searched on the sliders, before these are drawn."""
    own, limits = st.session_state.pop(_FOUND, (None, {}))
    if own is None:
        return
    st.session_state[OWN] = own
    if not own:
        st.session_state[COMMON] = next(iter(limits.values()))
    for name in own:
        st.session_state[own_key(name)] = limits[name]
