"""fairlearn as an oracle for rates, differences and ratios."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from oracle_tables import tables

from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions

RATES = {
    "selection_rate": ("selection_rate", None),
    "tpr": ("true_positive_rate", "yes"),
    "fpr": ("false_positive_rate", "no"),
    "tnr": ("true_negative_rate", "no"),
    "fnr": ("false_negative_rate", "yes"),
}


def _frame(rows, metric, **options):
    import fairlearn.metrics as fl

    return fl.MetricFrame(
        metrics=lambda y, p: getattr(fl, metric)(y, p, **options),
        y_true=rows["label"],
        y_pred=rows["prediction"],
        sensitive_features=rows["group"],
    )


def _audited(rows, **options):
    return audit(
        load_predictions(rows, labels=["no", "yes"]), by="group", outcome="yes", min_count=1, replicates=5, **options
    )


@given(rows=tables())
@settings(max_examples=25)
def test_rates_equal_fairlearn_and_unknown_is_nan(rows):
    """Every rate of every cell agrees to 1e-9; where fairlearn says 0.0 for a cell without such rows, ours is NaN."""
    ours = _audited(rows).cells.set_index("group")

    for rate, (metric, base) in RATES.items():
        theirs = _frame(rows, metric, pos_label="yes").by_group
        for group, value in theirs.items():
            has_base = base is None or ((rows["group"] == group) & (rows["label"] == base)).any()
            if has_base:
                assert ours.loc[group, rate] == pytest.approx(value, abs=1e-9)
            else:
                assert value == 0.0
                assert math.isnan(ours.loc[group, rate])


@given(rows=tables())
@settings(max_examples=25)
def test_gaps_and_ratios_equal_fairlearn_where_every_cell_is_known(rows):
    """The max-min gap is fairlearn's difference, and the smallest over the largest rate its ratio."""
    result = _audited(rows)
    gaps = result.gaps.set_index("rate")
    for rate, (metric, base) in RATES.items():
        counts = rows.groupby("group")["label"].apply(
            lambda labels, base=base: len(labels) if base is None else (labels == base).sum()
        )
        if rate not in gaps.index or len(counts) < 2 or (counts == 0).any():
            continue
        theirs = _frame(rows, metric, pos_label="yes")
        assert gaps.loc[rate, "value"] == pytest.approx(theirs.difference(), abs=1e-9)
        pairs = result.pairs[result.pairs["rate"] == rate]
        if len(pairs) and theirs.by_group.max() > 0:
            assert np.nanmin(pairs["ratio"]) == pytest.approx(theirs.ratio(), abs=1e-9)


@given(rows=tables(classes=("cat", "dog", "owl")))
@settings(max_examples=25)
def test_three_classes_equal_sklearn_through_fairlearn(rows):
    """Accuracy and macro recall, precision and F1 of every cell agree where every class occurs in it."""
    import fairlearn.metrics as fl
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    labels = ["cat", "dog", "owl"]
    ours = audit(load_predictions(rows, labels=labels), by="group", min_count=1, replicates=5).cells.set_index("group")
    macro = {"macro_tpr": recall_score, "macro_ppv": precision_score, "macro_f1": f1_score}
    metrics = {"accuracy": accuracy_score} | {
        name: (lambda y, p, f=function: f(y, p, labels=labels, average="macro", zero_division=np.nan))
        for name, function in macro.items()
    }
    theirs = fl.MetricFrame(
        metrics=metrics, y_true=rows["label"], y_pred=rows["prediction"], sensitive_features=rows["group"]
    ).by_group
    for group in theirs.index:
        cell = rows[rows["group"] == group]
        assert ours.loc[group, "accuracy"] == pytest.approx(theirs.loc[group, "accuracy"], abs=1e-9)
        for name in macro:
            complete = set(cell["label"]) == set(labels) == set(cell["prediction"])
            if complete:
                assert ours.loc[group, name] == pytest.approx(theirs.loc[group, name], abs=1e-9)
        if set(cell["label"]) != set(labels):
            assert math.isnan(ours.loc[group, "macro_tpr"])
