"""Tests for visrec.ui.bucket_view_labels: AIF360's figures about labels, and what could be audited, before training."""

import numpy as np
import pandas as pd
import pytest

from visrec.audit.planner import power
from visrec.ui.bucket_view_labels import (
    GROUP,
    METRICS,
    audit_plan,
    gap_text,
    label_audit,
    label_gap,
    label_metrics,
    plan_sentence,
)


def table(counts: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [(group, label) for (group, label), n in counts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["race", "label"])


UNEVEN = {("a", "yes"): 300, ("a", "no"): 100, ("b", "yes"): 90, ("b", "no"): 110, ("c", "yes"): 60, ("c", "no"): 40}


@pytest.mark.parametrize("privileged", ["a", "b"])
def test_metrics_are_those_of_aif360(privileged):
    """AIF360's own class on the same rows is the oracle."""
    from visrec.audit.aif360_metrics import library

    samples = table(UNEVEN)
    data = pd.DataFrame({"race": (samples["race"] == privileged).astype(float), "y": (samples["label"] == "yes") * 1.0})
    found = library()
    oracle = found.BinaryLabelDatasetMetric(
        found.BinaryLabelDataset(df=data, label_names=["y"], protected_attribute_names=["race"]),
        privileged_groups=[{"race": 1.0}], unprivileged_groups=[{"race": 0.0}],
    )  # fmt: skip

    metrics = label_metrics(label_audit(samples, "label", "race", "yes", privileged)).set_index("metric")

    assert oracle.statistical_parity_difference() == pytest.approx(metrics.loc[METRICS[0], "value"])
    assert oracle.disparate_impact() == pytest.approx(metrics.loc[METRICS[1], "value"])


def test_verdicts_follow_the_null_band():
    """Uneven labels are supported, labels drawn by lot are not, and twenty images are too few."""
    lot = pd.DataFrame({"race": np.repeat(["a", "b"], 200), "label": np.tile(["yes", "no"], 200)})
    few = table({("a", "yes"): 300, ("a", "no"): 100, ("b", "yes"): 1, ("b", "no"): 19})

    assert {"supported"} == set(label_metrics(label_audit(table(UNEVEN), "label", "race", "yes"))["verdict"])
    assert {"cannot tell"} == set(label_metrics(label_audit(lot, "label", "race", "yes"))["verdict"])
    assert {"too few images"} == set(label_metrics(label_audit(few, "label", "race", "yes", "a"))["verdict"])


def test_chance_alone_stays_inside_its_band():
    """Under equal rates the difference lies outside the 95 % band about once in twenty."""
    rng = np.random.default_rng(3)
    outside = 0
    for _ in range(60):
        samples = pd.DataFrame({"race": rng.choice(["a", "b"], 400), "label": rng.choice(["yes", "no"], 400)})
        row = label_metrics(label_audit(samples, "label", "race", "yes")).iloc[0]
        outside += not row["null_low"] <= row["value"] <= row["null_high"]

    assert outside <= 9  # 3 expected; more than 9 in 60 has a chance of 0.0005


def test_share_of_each_group_is_its_selection_rate():
    """The chart reads it from the audit; unknown values take no part."""
    samples = pd.concat([table(UNEVEN), pd.DataFrame({"race": [None], "label": ["yes"]})])
    cells = label_audit(samples, "label", "race", "yes").cells.set_index(GROUP)

    assert {"a": 0.75, "b": 0.45, "c": 0.6} == pytest.approx(cells["selection_rate"].to_dict())


def test_attribute_may_have_any_name():
    """Even that of a figure of the audit."""
    samples = table(UNEVEN).rename(columns={"race": "accuracy"})

    assert "supported" == label_metrics(label_audit(samples, "label", "accuracy", "yes"))["verdict"][0]


def test_plan_is_where_the_power_reaches_four_fifths():
    """At the smallest gap a test finds it four times in five; with the missing images, the wanted gap."""
    groups = pd.Series(["a"] * 900 + ["b"] * 200 + ["c"] * 5)
    plan = audit_plan(groups, 0.9, 0.05).set_index("group")

    b = plan.loc["b"]
    assert power(0.9 - b["smallest_gap"], 200, 0.9, 905, tests=3) == pytest.approx(0.8, abs=1e-3)
    assert power(0.85, 200 + b["more"], 0.9, 905, tests=3) >= 0.8 > power(0.85, 199 + b["more"], 0.9, 905, tests=3)
    assert plan.loc["c", "smallest_gap"] > b["smallest_gap"]
    assert "c with 5 images" in plan_sentence(plan.reset_index(), "race", 0.05)


def test_enough_images_for_every_group_is_said():
    """Nothing is hard to judge then."""
    plan = audit_plan(pd.Series(["a"] * 9000 + ["b"] * 9000), 0.9, 0.05)

    assert {0.0} == set(plan["more"])
    assert "**every** group" in plan_sentence(plan, "race", 0.05)


def test_gap_is_between_the_two_groups_farthest_apart():
    """One group against everybody else may hide another that differs most."""
    hidden = table({(g, label): n for g in "abc" for label, n in (("yes", 200), ("no", 200))}
                   | {("d", "yes"): 60, ("d", "no"): 140})  # fmt: skip
    audit = label_audit(hidden, "label", "race", "yes", "a")
    text = gap_text(label_gap(audit), "yes")

    assert 0.2 == pytest.approx(label_gap(audit).value)
    assert "0.200**, supported" in text
    assert "d 0.300" in text
    assert "unknown" in gap_text(label_gap(label_audit(hidden.head(20), "label", "race", "yes")), "yes")
