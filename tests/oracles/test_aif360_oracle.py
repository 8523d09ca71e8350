"""AIF360 on full rows as an oracle for AIF360 on weighted cells, for our formulas and for the subset scan."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from oracle_tables import tables

from visrec.audit import aif360_metrics, aif360_table, formulas, subset_scan
from visrec.audit.cells import binary_counts
from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions


def full_rows(rows, privileged, scores=None, attributes=("group",)):
    """AIF360 on every row, without weights: the classification metric and the metric of the predictions."""
    library = aif360_metrics.library()
    codes = {name: sorted(rows[name].unique()) for name in attributes}
    frame = pd.DataFrame({n: rows[n].map(codes[n].index).astype(float) for n in attributes})
    truth = library.BinaryLabelDataset(
        df=frame.assign(label=(rows["label"] == "yes").astype(float)),
        label_names=["label"],
        protected_attribute_names=list(attributes),
    )
    answer = truth.copy(deepcopy=True)
    answer.labels = (rows["prediction"] == "yes").to_numpy(float)[:, None]
    if scores is not None:
        answer.scores = np.asarray(scores, dtype=float)[:, None]
    first = attributes[0]
    groups = {
        "privileged_groups": [{first: float(codes[first].index(privileged))}],
        "unprivileged_groups": [{first: float(i)} for i, v in enumerate(codes[first]) if v != privileged],
    }
    predicted = truth.copy(deepcopy=True)
    predicted.labels = answer.labels
    return library.ClassificationMetric(truth, answer, **groups), library.BinaryLabelDatasetMetric(predicted, **groups)


def oracle(metric, predicted, name):
    """The value that AIF360 gives on full rows, by the name our table uses."""
    edf = "smoothed_empirical_differential_fairness"
    if name == edf:
        return predicted.smoothed_empirical_differential_fairness()
    if name == "labels_mean_difference":  # AIF360's alias would call the predictions' version
        name = "labels_statistical_parity_difference"
    if name == "differential_fairness_bias_amplification":
        return metric.differential_fairness_bias_amplification()
    if name.startswith("labels_"):
        return getattr(type(predicted), name.removeprefix("labels_"))(metric)
    return getattr(metric, name)()


@pytest.fixture(autouse=True)
def forget_afterwards():
    """AIF360 remembers every value by object; nothing of one test may reach the next."""
    yield
    aif360_metrics.forget()


@given(rows=tables(attributes=2))
@settings(max_examples=25)
def test_weighted_cells_equal_full_rows(rows):
    """Every metric we show, entropy included, is AIF360's on the unaggregated rows, or NaN where a base is empty."""
    privileged = rows["group"].iloc[0]
    result = audit(
        load_predictions(rows, labels=["no", "yes"]), by="group,group1", outcome="yes",
        privileged={"group": [privileged]}, replicates=5,
    )  # fmt: skip
    split = result.split(result.privileged_cells)
    ours = aif360_table.seen(split)
    with np.errstate(all="ignore"):
        metric, predicted = full_rows(rows, privileged, attributes=("group", "group1"))
        for name, found in ours.items():
            if name.startswith("between_all"):
                continue
            theirs = float(oracle(metric, predicted, name))
            if found["value"] == 0 and np.isnan(theirs) and "coefficient" in name:
                continue  # AIF360 took the root of a rounding error below 0
            if not math.isnan(found["value"]):
                power = 2 if "coefficient" in name else 1
                assert found["value"] ** power == pytest.approx(theirs**power, abs=1e-9), name
            else:
                assert not np.isfinite(theirs) or _base_is_empty(split, name), name


def _base_is_empty(split, name):
    grouped = split.grouped(split.counts)
    ours = formulas.comparisons(grouped[0], grouped[1])
    rate = formulas.ALIASES.get(name, name)
    if rate in formulas.GROUP_RATES:
        return bool(np.isnan(formulas.group_rate(split.counts.sum(axis=0), rate)))
    return bool(np.isnan(ours[rate]))


@given(rows=tables())
@settings(max_examples=15)
def test_between_all_groups_equals_aif360_with_every_value_declared(rows):
    """AIF360 needs every group's values declared for this; then the closed form on counts agrees."""
    library = aif360_metrics.library()
    groups = sorted(rows["group"].unique())
    result = audit(load_predictions(rows, labels=["no", "yes"]), by="group", outcome="yes", replicates=5)
    counts = binary_counts(result.table, "yes")
    ours = formulas.entropy_family(counts, np.stack([counts[0] * 0, counts.sum(axis=0)]))
    frame = pd.DataFrame({"group": rows["group"].map(groups.index).astype(float)})
    truth = library.BinaryLabelDataset(
        df=frame.assign(label=(rows["label"] == "yes").astype(float)), label_names=["label"],
        protected_attribute_names=["group"],
        privileged_protected_attributes=[np.array([0.0])],
        unprivileged_protected_attributes=[np.arange(1.0, len(groups))],
    )  # fmt: skip
    answer = truth.copy(deepcopy=True)
    answer.labels = (rows["prediction"] == "yes").to_numpy(float)[:, None]
    with np.errstate(all="ignore"):
        metric = library.ClassificationMetric(truth, answer)
        for name in ("generalized_entropy_index", "theil_index", "coefficient_of_variation"):
            theirs = float(getattr(metric, f"between_all_groups_{name}")())
            mine = float(ours[f"between_all_groups_{name}"])
            # the root of AIF360\'s own rounding of 0 is 2e-8: the coefficient is compared by its square
            power = 2 if "coefficient" in name else 1
            unknown = not np.isfinite(theirs) and (math.isnan(mine) or mine == 0)  # root of -1e-17
            assert unknown or mine**power == pytest.approx(theirs**power, abs=1e-9)


def test_generalized_metrics_equal_full_rows():
    """Score sums per counted cell are all that the generalized metrics need."""
    rng = np.random.default_rng(3)
    n = 400
    rows = pd.DataFrame({"label": rng.choice(["no", "yes"], n), "group": rng.choice(list("abc"), n)})
    rows["score:yes"] = rng.random(n)
    rows["score:no"] = 1 - rows["score:yes"]
    rows["prediction"] = np.where(rows["score:yes"] >= 0.5, "yes", "no")
    result = audit(load_predictions(rows), by="group", outcome="yes", privileged="group=a", replicates=50)
    ours = result.aif360.set_index("metric")
    metric, _ = full_rows(rows, "a", rows["score:yes"])
    for name in (*formulas.GENERALIZED, *aif360_metrics.GENERALIZED_NUMBERS):
        assert ours.loc[name, "value"] == pytest.approx(float(getattr(metric, name)()), abs=1e-9)
        assert ours.loc[name, "unprivileged"] == pytest.approx(float(getattr(metric, name)(privileged=False)), abs=1e-9)
    name = "generalized_equalized_odds_difference"
    assert ours.loc[name, "value"] == pytest.approx(float(getattr(metric, name)()), abs=1e-9)
    assert ours.loc[name, "low"] <= ours.loc[name, "value"] <= ours.loc[name, "high"]


def test_an_empty_group_is_unknown_where_aif360_says_0_or_1():
    """A group without such rows has error rate 1 and FDR 0 in AIF360; here its comparisons are NaN."""
    counts = np.array([[0, 0, 0, 0], [5, 3, 2, 7]])
    split = aif360_table.Split(np.array([[0], [1]]), counts, np.array([False, True]), None, ("group",))
    ours = aif360_table.seen(split)
    assert "error_rate_difference" not in ours or math.isnan(ours["error_rate_difference"]["value"])
    one_sided = np.array([[4, 0, 3, 0], [5, 3, 2, 7]])
    split = aif360_table.Split(np.array([[0], [1]]), one_sided, np.array([False, True]), None, ("group",))
    theirs = aif360_metrics.split_metrics(split.codes, split.privileged, split.counts)
    assert theirs["false_discovery_rate"]["unprivileged"] == 0.0
    ours = aif360_table.seen(split)
    assert math.isnan(ours["false_discovery_rate"]["unprivileged"])
    assert math.isnan(ours["false_discovery_rate_difference"]["value"])


@given(rows=tables(most=120))
@settings(max_examples=15)
def test_formulas_equal_aif360_for_every_group_against_the_rest(rows):
    """What serves pairs and bootstraps is AIF360's own value, group by group."""
    result = audit(load_predictions(rows, labels=["no", "yes"]), by="group", outcome="yes", replicates=5)
    counts = binary_counts(result.table, "yes")
    for cell in range(len(counts)):
        rest = counts.sum(axis=0) - counts[cell]
        ours = formulas.comparisons(counts[cell], rest)
        theirs = aif360_metrics.split_metrics(
            np.array([[0], [1]]), np.array([False, True]), np.stack([counts[cell], rest])
        )
        for name, value in ours.items():
            if name in theirs and not np.isnan(value):
                assert float(value) == pytest.approx(theirs[name]["value"], abs=1e-9), name


def test_all_pairs_equal_aif360():
    """Every two cells, the larger as the privileged group."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({c: rng.choice(v, 500) for c, v in (("label", ["no", "yes"]), ("prediction", ["no", "yes"]))})
    result = audit(load_predictions(rows.assign(group=rng.choice(list("abcd"), 500))), by="group", outcome="yes")
    counts = dict(zip(result.table.names(), binary_counts(result.table, "yes"), strict=True))
    assert len(result.aif360_pairs) == 6
    for row in result.aif360_pairs.to_dict("records"):
        assert row["n_privileged"] >= row["n_unprivileged"]
        pair = np.stack([counts[row["unprivileged"]], counts[row["privileged"]]])
        theirs = aif360_metrics.compared_metrics(pair[None])
        for name, (value,) in theirs.items():
            assert row[formulas.ALIASES.get(name, name)] == pytest.approx(value, abs=1e-9)


def test_differential_fairness_of_many_cells_equals_aif360():
    """Beyond 40 cells AIF360's loop over pairs is replaced by the closed form: the same value, of both kinds."""
    rng = np.random.default_rng(0)
    n = 3000
    rows = pd.DataFrame({"label": rng.choice(["no", "yes"], n), "prediction": rng.choice(["no", "yes"], n)})
    rows = rows.assign(group=rng.choice(list("abcdefgh"), n), group1=rng.choice(list("abcdefgh"), n))
    result = audit(load_predictions(rows), by="group,group1", outcome="yes", replicates=5)
    ours = aif360_table.seen(result.split(result.privileged_cells))
    metric, predicted = full_rows(rows, "a", attributes=("group", "group1"))
    for name in aif360_metrics.DIFFERENTIAL:
        theirs = float(oracle(metric, predicted, name))
        assert len(result.cells) > aif360_metrics.MOST_EDF_CELLS
        assert ours[name]["value"] == pytest.approx(theirs, abs=1e-9)


def test_no_public_metric_is_forgotten():
    """Each public method of ClassificationMetric is shown, or left out with a reason."""
    import inspect

    metric = aif360_metrics.library().ClassificationMetric
    public = {n for n, _ in inspect.getmembers(metric, inspect.isfunction) if not n.startswith("_")}
    counts = np.array([[5, 3, 2, 7], [6, 4, 8, 1]])
    scored = aif360_table.Scored(counts * 0.5, lambda: None)
    split = aif360_table.Split(np.array([[0], [1]]), counts, np.array([False, True]), scored, ("group",))
    shown = set(aif360_table.seen(split))
    assert public - shown - set(aif360_metrics.LEFT_OUT) == {"difference", "ratio"}


def test_aif360_remembers_nothing_afterwards():
    """A server that audits all day must not fill up with AIF360's memoised values."""
    rows = pd.DataFrame(
        {"label": ["no", "yes"] * 20, "prediction": ["yes", "yes", "no", "no"] * 10, "group": list("abab") * 10}
    )
    predictions = load_predictions(rows)
    for seed in range(3):
        result = audit(predictions, by="group", outcome="yes", seed=seed, replicates=5)
        assert len(result.aif360) > 50
        assert len(result.aif360_groups) == 2
        assert aif360_metrics.remembered() == 0


def test_aif360_is_imported_late_and_without_tensorflow():
    """Importing the engine loads neither; using AIF360 does not load TensorFlow, and does not hide it for good."""
    code = (
        "import sys, logging, importlib.util;"
        "import visrec.audit.engine;"
        "assert not {'aif360', 'tensorflow', 'sklearn'} & set(sys.modules), 'too early';"
        "from visrec.audit import aif360_metrics as m; m.library();"
        "assert 'aif360' in sys.modules and 'tensorflow' not in sys.modules;"
        "assert not logging.getLogger().handlers;"
        "assert importlib.util.find_spec('tensorflow') is None or importlib.util.find_spec('tensorflow').name"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("worse", ["lower", "higher"])
@pytest.mark.parametrize("seed", range(4))
def test_subset_scan_equals_aif360(worse, seed):
    """Same subset and score as AIF360's bias_scan on the full rows, and NumPy's global generator is left alone."""
    aif360_metrics.library()
    from aif360.detectors import bias_scan

    rng = np.random.default_rng(seed)
    n = 600
    rows = pd.DataFrame({"race": rng.choice(4, n), "age": rng.choice(5, n), "light": rng.choice(2, n)})
    chance = 0.85 - 0.3 * ((rows["race"] == 1) & rows["age"].isin([0, 3])) * (1 if worse == "lower" else -0.4)
    right = rng.random(n) < chance
    order = np.lexsort((rows["light"], rows["age"], rows["race"]))
    rows, right = rows.iloc[order].reset_index(drop=True), right[order]
    frame = rows.astype(str).assign(label="x", prediction=np.where(right, "x", "y"))
    cube = load_predictions(frame, labels=["x", "y"]).cube
    question = audit(load_predictions(frame, labels=["x", "y"]), by="race").question
    lines = subset_scan.rate_lines(cube, question, "accuracy", ["race", "age", "light"])
    before = np.random.get_state()[1].copy()
    subset, score = subset_scan.best_subset(lines, worse, seed=0)
    assert (np.random.get_state()[1] == before).all()

    expected = pd.Series(np.full(n, right.mean()))
    theirs, their_score = bias_scan(
        data=rows, observations=pd.Series(right.astype(int)), expectations=expected, favorable_value=1,
        overpredicted=worse == "lower", penalty=1e-17,
    )  # fmt: skip
    assert score == pytest.approx(their_score, abs=1e-4)
    assert {k: sorted(v) for k, v in subset.items()} == {k: sorted(v) for k, v in theirs.items()}
