"""What the labels alone say of fairness: how often each group carries a label, and how well each could be audited.

A model that learns labels which favour one group can be no fairer than they are; and a group with few images to be
judged by cannot be judged, whatever the model. Both are known before any training.
"""

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, cached, charts, charts_rows, widgets, wording

GROUP = "group"
"""The attribute's name inside the audit, so that no column of a bucket can be in the way."""

METRICS = ("labels_statistical_parity_difference", "labels_disparate_impact")
TARGETS = (0.02, 0.05, 0.1)
"""Gaps in accuracy that one may want to see."""


def label_audit(samples: pd.DataFrame, target: str, attribute: str, outcome: str, privileged: str | None = None):
    """The audit of the labels: a model that always answers with the label.

    Parameters
    ----------
    samples : the sample table
    outcome : the label that is asked about
    privileged : the reference group; None takes the largest

    Returns
    -------
    visrec.audit.engine.Audit
        By one attribute, named ``group``; its selection rate is the share of the group that carries the label.
    """
    from visrec.audit.engine import audit
    from visrec.audit.predictions import load_predictions

    known = samples[samples[target].notna() & samples[attribute].notna()]
    label = known[target].astype(str)
    frame = pd.DataFrame({"label": label, "prediction": label, GROUP: known[attribute].astype(str)})
    counted = load_predictions(frame, attributes=[GROUP], keep_rows=False)
    return audit(counted, by=[GROUP], outcome=outcome, privileged={GROUP: [privileged]} if privileged else None)


def label_metrics(audit) -> pd.DataFrame:
    """AIF360's metrics of a data set, for the privileged group against everybody else.

    Returns
    -------
    DataFrame, one row per metric of `METRICS`
        metric, value, null_low, null_high (what chance alone would show at these sizes), ideal, verdict. Both ask the
        same question, so there is one p and nothing to correct for.
    """
    from visrec.audit import aif360_table, formulas
    from visrec.audit.gaps import verdict
    from visrec.audit.metric_text import aif360_text

    split = audit.split(audit.privileged_cells)
    others, reference = split.grouped(split.counts)
    values = formulas.comparisons(others[None], reference[None])
    bands, p = aif360_table.null_bands(split, audit.question)
    few = bool(min(others.sum(), reference.sum()) < audit.question.min_count)
    rows = []
    for metric in METRICS:
        value, band = float(values[metric][0]), bands.get(metric, (np.nan,) * 3)
        said = verdict(p.get(METRICS[0], np.nan), few or not np.isfinite(value))
        ideal = aif360_text(metric).ideal
        rows.append({"metric": metric, "value": value, "null_low": band[0], "null_high": band[2], "ideal": ideal,
                     "verdict": said})  # fmt: skip
    return pd.DataFrame(rows)


def label_gap(audit):
    """The gap between the groups that carry the label least and most often (`visrec.audit.gaps.Gap`)."""
    from visrec.audit.gaps import share_gap
    from visrec.audit.rates import shares

    share = shares(audit.table, audit.question.outcome)["selection_rate"]
    return share_gap("selection_rate", share, audit.table.names(), audit.by, audit.question)


def gap_text(gap, outcome: str) -> str:
    """What may be said of it, in Markdown; one question was asked, so its p needs no correction."""
    from visrec.audit.gaps import verdict

    said = verdict(gap.p, gap.too_few)
    if gap.too_few:
        return f"**Largest gap between groups: unknown**, {said}."
    worst, best, label = (widgets.escape(word) for word in (gap.worst, gap.best, outcome))
    return (
        f"**Largest gap between groups: {wording.number(gap.value)}**, {said}. {label}: {worst} "
        f"{wording.number(gap.worst_value)}, {best} {wording.number(gap.best_value)}. "
        f"Chance alone would show up to {wording.number(gap.null_high)} at these sizes."
    )


def audit_plan(groups: pd.Series, accuracy: float, target: float) -> pd.DataFrame:
    """How well each group could be audited with the images there are to judge by.

    Parameters
    ----------
    groups : the group of each judged image
    accuracy : what the model is taken to reach on everybody else, 0..1
    target : gap in accuracy one would like to see, 0..1

    Returns
    -------
    DataFrame, one row per group
        group, images, smallest_gap (below everybody else, that a test would find four times in five; NaN where none
        would show), more (images that the group lacks to show ``target``; inf: no number would do)
    """
    from visrec.audit.planner import images_needed, smallest_gap

    counts = groups.value_counts()
    counts = counts.loc[widgets.ordered(counts.index)]
    n = counts.to_numpy()
    rest, share, tests = n.sum() - n, np.full(len(n), accuracy), max(len(n), 1)
    needed = images_needed(share, share - target, rest, tests)
    return pd.DataFrame(
        {
            "group": counts.index,
            "images": n,
            "smallest_gap": smallest_gap(share, n, rest, -1, tests),
            "more": np.where(np.isnan(needed), np.nan, np.maximum(needed - n, 0)),
        }
    )


def draw_disparity(table, target: str, attribute: str) -> None:
    """Controls, a chart of each group's share, and AIF360's two metrics with what chance alone would show."""
    left, right = st.columns(2)
    classes = widgets.ordered(table.samples[target].dropna().astype(str).unique())
    groups = table.samples.loc[table.samples[target].notna(), attribute].dropna().astype(str).value_counts()
    key = f"{target}_{attribute}_{table.url}"
    outcome = left.selectbox("Share labelled", classes, key=f"labels_outcome_{key}")
    privileged = right.selectbox(
        "Reference group", widgets.ordered(groups.index), key=f"labels_privileged_{key}",
        index=widgets.ordered(groups.index).index(groups.index[0]),
        help="AIF360 calls it privileged. The difference is everybody else minus it, the ratio divided by it.",
    )  # fmt: skip
    if len(groups) < 2:
        st.info("All images are in one group, so there is nothing to compare.", icon=":material/group_off:")
        return
    audit, metrics, gap = _disparity(
        table.url, cached.bucket_reading(table.url), target, attribute, outcome, privileged
    )
    with left:
        frame = audit_view.rate_frame(audit_view.cells_of(audit), (GROUP,), "selection_rate")
        order = widgets.ordered(frame["cell"])
        frame = frame.set_index("cell").loc[order].reset_index()
        overall = float(audit.overall["selection_rate"].iloc[0])
        summary = f"Each group's share of images labelled {widgets.escape(outcome)}, with its 95 % interval."
        if frame["small"].any():
            summary += " Hatched: too few images to say."
        chart = charts_rows.cell_dots(frame, overall=overall, title=f"share labelled {outcome}")
        audit_view.show_chart(chart, summary, key="bucket_disparity")
    with right:
        st.markdown(gap_text(gap, outcome))
        for row in metrics.to_dict("records"):
            _show_metric(row)
        st.caption(
            "A model can only learn what the labels say. A supported difference may be true of the world, or come from "
            "how images were chosen and labelled; either way it will be learned."
        )
    widgets.table(metrics, f"labels-{attribute}-{target}", label="The labels' metrics as a table")


def _show_metric(row: dict) -> None:
    from visrec.audit.metric_text import aif360_text

    text = aif360_text(row["metric"])
    chance = ""
    if np.isfinite([row["null_low"], row["null_high"]]).all():
        low, high = charts.rate_text(row["null_low"]), charts.rate_text(row["null_high"])
        chance = f" Chance alone would show {low} to {high}."
    with st.container(border=True):
        st.markdown(f"**{widgets.escape(text.title)}: {charts.rate_text(row['value'])}**, {row['verdict']}")
        st.caption(f"{text.plain}{chance} Equal groups give {row['ideal']:.0f}. AIF360: `{row['metric'][7:]}`.")


@st.cache_resource(ttl=300, max_entries=32, show_spinner="Comparing the labels")
def _disparity(url: str, reading: str, target: str, attribute: str, outcome: str, privileged: str):
    audit = label_audit(cached.bucket_table(url).samples, target, attribute, outcome, privileged)
    return audit, label_metrics(audit), label_gap(audit)


def draw_plan(table, target: str, attribute: str) -> None:
    """What the images that will judge a model could show of each group."""
    groups = _judged(table.url, cached.bucket_reading(table.url), target, attribute)
    if groups.nunique() < 2:
        st.info("The images to judge by are all in one group, so no groups can be compared.")
        return
    left, right = st.columns(2)
    accuracy = left.slider("If a model reaches the accuracy", 0.5, 0.99, 0.9, 0.01, key="plan_accuracy")
    gap = right.segmented_control(
        "and a gap this large should show", TARGETS, default=0.05, required=True, key="plan_gap",
        format_func=lambda g: f"{100 * g:.0f} points",
    )  # fmt: skip
    plan = audit_plan(groups, accuracy, gap)
    st.markdown(plan_sentence(plan, attribute, gap))
    shown = plan.assign(
        smallest_gap=[_points(g) for g in plan["smallest_gap"]], more=[_more(m) for m in plan["more"]]
    ).rename(
        columns={"group": wording.nice(attribute),
                 "smallest_gap": "smallest gap", "more": "images lacking"}
    )  # fmt: skip
    st.dataframe(shown, hide_index=True, width="stretch", alt=f"How well each group by {attribute} could be audited")
    st.caption(
        "*Images* are those that judge a model, the val or test split. A gap *would show* when a test finds it four "
        "times in five, at 5 % false alarms shared by all groups. The groups are compared in accuracy, each with "
        "everybody else."
    )
    widgets.download_csv(plan, f"plan-{attribute}-{target}")


def plan_sentence(plan: pd.DataFrame, attribute: str, target: float) -> str:
    """How many groups could be judged, and which one the least.

    >>> table = pd.DataFrame({"group": ["a", "b"], "images": [900, 20], "more": [0.0, 400.0]})
    >>> plan_sentence(table, "race", 0.05)
    'A gap of 5 points would show for **1 of 2** groups by race; the hardest to judge is b with 20 images.'
    """
    able = int((plan["more"] == 0).sum())
    if able == len(plan):
        return f"A gap of {100 * target:.0f} points would show for **every** group by {widgets.escape(attribute)}."
    least = plan.loc[plan["images"].idxmin()]
    return (
        f"A gap of {100 * target:.0f} points would show for **{able} of {len(plan)}** groups by "
        f"{widgets.escape(attribute)}; the hardest to judge is {widgets.escape(least['group'])} with "
        f"{wording.count(int(least['images']), 'image')}."
    )


def _points(gap: float) -> str:
    return "none, too few images" if np.isnan(gap) else f"{100 * gap:.1f} points"


def _more(more: float) -> str:
    if np.isnan(more):
        return "unknown"
    if np.isinf(more):
        return "no number would do"
    return f"{int(more):,}" if more else "none"


@st.cache_data(ttl=300, max_entries=16, show_spinner=False)
def _judged(url: str, reading: str, target: str, attribute: str) -> pd.Series:
    """The group of every image that a model will be judged by: test, else val."""
    from visrec.audit.splits import judged_split
    from visrec.data.split import assign_splits

    samples = assign_splits(cached.bucket_table(url), target, (), 0)
    return samples.loc[samples["split"] == judged_split(samples["split"]), attribute].dropna().astype(str)
