"""Tests for visrec.audit.engine, the planner, the spread and the document."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from visrec.audit import planner, variance
from visrec.audit.cells import CellTable
from visrec.audit.cube import parse_where
from visrec.audit.document import AVERAGES, RESERVED
from visrec.audit.engine import audit
from visrec.audit.gaps import Question
from visrec.audit.metric_text import AIF360_TEXT, RATE_TEXT, aif360_text
from visrec.audit.predictions import load_predictions
from visrec.audit.rates import RATES, Shares
from visrec.audit.subset_scan import rate_lines
from visrec.cli.output import jsonable
from visrec.errors import InputError


def test_every_crossing_holds_the_same_rows(result):
    """Cells, marginals, overall and matrices are sums of one cube."""
    assert result.cells["n"].sum() == result.overall.loc[0, "n"] == result.rows == 3000
    assert all(frame["n"].sum() == 3000 for frame in result.marginals.values())
    for by in ([], ["age"], ["race", "age"]):
        assert sum(m.sum() for m in result.confusion(by).values()) == 3000


def test_filters_read_comma_as_and_and_repetition_as_or(faces):
    """race=a or race=b, and age=old."""
    predictions = load_predictions(faces)
    result = audit(predictions, by="race", where=["race=a,age=old", "race=b"])
    expected = faces["race"].isin(["a", "b"]) & (faces["age"] == "old")
    assert result.rows == expected.sum()
    assert parse_where(["size=1,5,age=old"]) == {"size": ["1,5"], "age": ["old"]}


def test_three_classes_work_without_being_told(faces):
    """Any number of classes: matrices are k x k, and each class can be the outcome."""
    rng = np.random.default_rng(0)
    rows = faces.drop(columns=["score:no", "score:yes"]).assign(
        label=rng.choice(["cat", "dog", "owl"], 3000), prediction=rng.choice(["cat", "dog", "owl"], 3000)
    )
    predictions = load_predictions(rows)
    result = audit(predictions, by="race", replicates=50)
    assert next(iter(result.confusion().values())).shape == (3, 3)
    assert not result.gaps.empty
    total = sum(audit(predictions, by="race", outcome=c).overall.loc[0, "selection_rate"] for c in predictions.labels)
    assert total == pytest.approx(1.0)


def test_no_attribute_at_all_is_an_audit_too(faces):
    """By nothing there is one cell, no gap, and no crash; AIF360 still gives its overall values."""
    result = audit(load_predictions(faces), by=(), outcome="yes", replicates=20)
    assert result.cells["n"].tolist() == [3000]
    assert set(result.gaps["verdict"]) == {"too few images"}
    assert result.aif360.set_index("metric").loc["accuracy", "value"] == result.overall.loc[0, "accuracy"]
    assert json.dumps(jsonable(result.to_json()))


def test_document_has_the_keys_of_the_contract(result):
    """DESIGN section 5: cells, confusion, gaps, pairs, aif360, skipped; unknown is null."""
    document = jsonable(result.to_json())
    assert {"rows", "cells", "marginals", "overall", "confusion", "gaps", "pairs", "aif360", "skipped"} <= set(document)
    cell = document["cells"][0]
    assert {"race", "age", "n", "accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr", "ppv", "confusion"} <= set(
        cell
    )
    assert set(cell["tpr"]) == {"value", "low", "high", "n"}
    assert document["confusion"]["labels"] == ["no", "yes"]
    gap = {"rate", "value", "low", "high", "null_low", "null_mean", "null_high", "excess", "worst", "best", "verdict"}
    assert gap <= set(document["gaps"][0])
    metric = document["aif360"]["statistical_parity_difference"]
    assert {"value", "low", "high", "null_low", "null_high", "ideal", "verdict"} <= set(metric)
    assert "NaN" not in json.dumps(document)
    assert document["marginals"]["race"][0]["race"] == "a"


def test_correct_leaves_what_has_no_meaning_unknown(faces):
    """For the outcome `correct` there are no negatives: FPR is null, accuracy is the selection rate."""
    document = jsonable(audit(load_predictions(faces), by="race", replicates=20).to_json(aif360=False))
    cell = document["cells"][0]
    assert cell["fpr"] == {"value": None, "low": None, "high": None, "n": 0}
    assert cell["selection_rate"] == cell["accuracy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "rase"}, "no attribute 'rase'.*Did you mean 'race'"),
        ({"by": "race", "outcome": "yess"}, "neither 'correct' nor one of the classes. Did you mean 'yes'"),
        ({"by": "race", "where": "race=z"}, "has no value 'z'"),
        ({"by": "race", "where": "race"}, "cannot be read; expected ATTRIBUTE=VALUE"),
        ({"by": "race", "privileged": "age=old"}, "the audit is by race; add it"),
        ({"by": "race", "privileged": "race=z"}, "has no value 'z'"),
        ({"by": "race", "missing": "maybe"}, "expected 'leave' or 'wrong'"),
        ({"by": "race", "min_count": -1}, "expected at least 0"),
    ],
)
def test_wrong_questions_get_a_sentence(faces, options, message):
    """The nearest name, or what was expected."""
    with pytest.raises(InputError, match=message):
        audit(load_predictions(faces), **options)


def test_an_attribute_named_like_a_figure_is_refused(faces):
    """A column `accuracy` would be mistaken for ours."""
    with pytest.raises(InputError, match="has the name of a figure"):
        audit(load_predictions(faces.rename(columns={"race": "accuracy"})), by="accuracy")


ODD = {
    "one row": ({"label": ["a"], "prediction": ["b"], "g": ["x"]}, {}),
    "no prediction at all": ({"label": list("abab"), "prediction": [None] * 4, "g": list("xxyy")}, {}),
    "a cell without predictions": (
        {"label": list("abab"), "prediction": ["a", "b", None, None], "g": list("xxyy")},
        {},
    ),
    "one class": ({"label": ["a"] * 80, "prediction": ["a"] * 80, "g": list("xy") * 40}, {}),
    "a class named correct": (
        {"label": ["correct", "x"] * 40, "prediction": ["x", "x", "correct", "x"] * 20, "g": list("xy") * 40},
        {"outcome": "correct"},
    ),
    "missing counted as wrong": (
        {"label": list("ab") * 40, "prediction": ["a", None, "b", "b"] * 20, "g": list("xy") * 40},
        {"outcome": "a", "missing": "wrong"},
    ),
    "scores missing with the prediction": (
        {"label": list("ab") * 40, "prediction": ["a", None, "b", "b"] * 20, "g": list("xy") * 40}
        | {"score:a": [0.9, np.nan, 0.2, 0.4] * 20, "score:b": [0.1, np.nan, 0.8, 0.6] * 20},
        {"outcome": "a", "min_count": 5},
    ),
}


@pytest.mark.parametrize("keep_rows", [True, False])
@pytest.mark.parametrize("name", ODD)
def test_odd_tables_give_a_whole_document(name, keep_rows):
    """Whatever is empty or missing, every table is computed and unknown is null."""
    columns, options = ODD[name]
    result = audit(load_predictions(pd.DataFrame(columns), keep_rows=keep_rows), by="g", replicates=20, **options)
    document = jsonable(result.to_json())
    json.dumps(document, allow_nan=False)
    assert len(document["cells"]) == len(set(columns["g"]))
    assert result.subset.score >= 0


def test_filters_that_leave_nothing_say_so(faces):
    """Values that exist, but never together."""
    rows = faces[~((faces["race"] == "a") & (faces["age"] == "old"))]
    with pytest.raises(InputError, match=r"No row of .* passes the filters race = a and age = old"):
        audit(load_predictions(rows), by="race", where="race=a,age=old")


def test_intervals_of_composites_hold_their_value(result):
    """F1 and balanced accuracy lie in their bootstrap intervals, and a perfect small cell is not certain."""
    known = result.cells.dropna(subset=["f1"])
    assert (known["f1_low"] <= known["f1"]).all()
    assert (known["f1"] <= known["f1_high"]).all()
    rows = pd.DataFrame({"label": ["no", "yes"] * 4, "prediction": ["no", "yes"] * 4, "g": ["a"] * 8})
    cell = audit(load_predictions(rows), by="g", outcome="yes", replicates=50).cells.iloc[0]
    assert cell["balanced_accuracy"] == 1.0
    assert cell["balanced_accuracy_low"] < 0.8


def test_differences_against_the_rest_hold_the_planted_cell(result):
    """(b, old) is worse than the rest, its interval excludes 0, and the verdict says so."""
    frame = result.differences.set_index(["rate", "cell"])
    row = frame.loc[("accuracy", "b · old")]
    assert row["high"] < 0
    assert row["verdict"] == "supported"
    assert row["null_low"] < 0 < row["null_high"]


def test_planner_needs_fewer_images_for_larger_gaps():
    """Monotone in the target, 0 when there are enough, inf when the rest is too small, NaN beyond 0..1."""
    need = [float(planner.images_needed(0.9, 0.9 - gap, 5000, 7)) for gap in (0.02, 0.05, 0.1)]
    assert need == sorted(need, reverse=True)
    assert math.isinf(planner.images_needed(0.9, 0.89, 50, 7))
    assert math.isnan(planner.images_needed(0.98, 1.03, 5000, 7))


def test_planner_and_power_agree(result):
    """At its smallest gap a cell has 80 % power, and with the images asked for the target has."""
    frame = result.planner
    row = frame[(frame["rate"] == "accuracy")].iloc[0]
    p1 = row["rest"] - row["smallest_gap"]
    assert float(planner.power(p1, row["n"], row["rest"], row["rest_n"], 9)) == pytest.approx(0.8, abs=1e-6)
    n = row["n"] + row["more_images"]
    assert float(planner.power(row["rest"] - row["target"], n, row["rest"], row["rest_n"], 9)) >= 0.8


def test_corrected_spread_is_unbiased_where_cells_are_equal():
    """Over many tables with equal cells the corrected variance averages 0, and is not clamped."""
    sizes = np.array([40, 80, 120, 300])
    corrected = []
    for i in range(300):
        right = np.random.default_rng(i).binomial(sizes, 0.9)
        counts = np.zeros((4, 2, 2), dtype=np.int64)
        counts[:, 1, 1], counts[:, 1, 0] = right, sizes - right
        table = CellTable(("g",), tuple((c,) for c in "abcd"), ("no", "yes"), counts, np.zeros((4, 2), dtype=np.int64))
        frame = variance.spread_table(table, Question("correct", replicates=20)).set_index("rate")
        corrected.append(frame.loc["accuracy", "corrected"])
    assert min(corrected) < 0
    assert np.mean(corrected) == pytest.approx(0, abs=2 * np.std(corrected) / np.sqrt(300))


def test_double_corrected_bootstrap_covers_the_true_spread():
    """With cells that truly differ, the interval of the between-group variance holds the truth mostly."""
    truth = np.array([0.8, 0.85, 0.9, 0.95])
    sizes, hit = np.array([150, 200, 250, 400]), 0
    for i in range(120):
        right = np.random.default_rng(i).binomial(sizes, truth)
        counts = np.zeros((4, 2, 2), dtype=np.int64)
        counts[:, 1, 1], counts[:, 1, 0] = right, sizes - right
        table = CellTable(("g",), tuple((c,) for c in "abcd"), ("no", "yes"), counts, np.zeros((4, 2), dtype=np.int64))
        row = (
            variance.spread_table(table, Question("correct", replicates=400, seed=i)).set_index("rate").loc["accuracy"]
        )
        hit += row["low"] <= np.var(truth, ddof=1) <= row["high"]
    assert hit / 120 >= 0.88


def test_shrunken_rates_lie_between_raw_and_pooled():
    """Small cells are pulled further; where cells scatter no more than chance, all the way."""
    share = Shares(np.array([2, 300, 760]), np.array([4, 400, 800]))
    mean, weight = variance.beta_moments(share)
    assert 0 < weight < np.inf
    assert mean == pytest.approx(1062 / 1204)
    assert variance.beta_moments(Shares(np.array([90, 91]), np.array([100, 100])))[1] == np.inf


def test_ranking_puts_the_planted_cell_last(result):
    """Lowest shrunken accuracy: (b, old)."""
    frame = result.ranking
    first = frame[(frame["rate"] == "accuracy") & (frame["rank"] == 1)].iloc[0]
    assert first["cell"] == "b · old"
    assert first["value"] < first["shrunken"]


def test_ends_of_a_shrunken_rate_are_unknown_where_cells_scatter_no_more_than_chance():
    """All are pulled to the pooled rate; an interval without width would claim that no cell differs from it."""
    rows = pd.DataFrame({"g": ["a"] * 100 + ["b"] * 100, "label": "x", "prediction": (["x"] * 90 + ["y"] * 10) * 2})
    frame = audit(load_predictions(rows, labels=["x", "y"]), by="g", replicates=5).ranking
    accuracy = frame[frame["rate"] == "accuracy"]

    assert accuracy["shrunken"].tolist() == [0.9, 0.9]
    assert accuracy[["low", "high"]].isna().all(axis=None)


def test_a_predictive_value_difference_rests_on_rows_of_either_answer():
    """Where a group is answered no three times, nobody knows how often that is wrong, however large the group."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"g": np.repeat(["a", "b"], 200), "label": rng.choice(["no", "yes"], 400)})
    rows["prediction"] = ["no"] * 3 + ["yes"] * 197 + ["no"] * 100 + ["yes"] * 100
    found = audit(load_predictions(rows), by="g", outcome="yes", replicates=500).aif360.set_index("metric")

    assert found.loc["average_predictive_value_difference", "verdict"] == "too few images"
    assert found.loc["statistical_parity_difference", "verdict"] == "supported"


def test_rows_without_any_prediction_still_have_metrics_of_the_labels():
    """Filtered to a group that the model never answered: no score is there to be summed."""
    rows = pd.DataFrame(
        {
            "g": ["p"] * 6 + ["q"] * 6,
            "label": ["x", "y"] * 6,
            "prediction": ["x", "y"] * 3 + [None] * 6,
            "score:x": [0.9, 0.1] * 3 + [np.nan] * 6,
            "score:y": [0.1, 0.9] * 3 + [np.nan] * 6,
        }
    )
    result = audit(load_predictions(rows), by="g", outcome="x", where="g=q", replicates=5)

    assert result.overall.loc[0, ["n", "absent"]].tolist() == [0, 6]
    assert not np.isfinite(result.aif360.get("value", pd.Series(dtype=float))).any()


def test_subset_scan_of_a_class_scans_the_accuracy_of_that_class(faces):
    """One class against the rest, as everywhere in that audit, also where there are three."""
    rng = np.random.default_rng(0)
    rows = faces[["race", "age"]].assign(label=rng.choice(["cat", "dog", "owl"], len(faces)))
    rows["prediction"] = rows["label"].where(rows["race"] != "c", rows["label"].replace({"cat": "dog", "dog": "cat"}))
    predictions = load_predictions(rows)
    plain, owl = (audit(predictions, by="race", outcome=o, replicates=5) for o in ("correct", "owl"))

    assert plain.subset.narrowed == {"race": ("c",)}
    assert owl.subset.overall == owl.overall.loc[0, "accuracy"] == 1.0
    assert not owl.subset.narrowed


def test_subset_scan_finds_the_planted_subgroup(result):
    """Without being told where to look; on shuffled answers it finds nothing that chance does not."""
    found = result.subset
    assert found.narrowed == {"race": ("b",), "age": ("old",)}
    assert found.p <= 0.01
    assert "b" in found.sentence()


def test_subset_scan_of_noise_is_not_supported(faces):
    """Right and wrong dealt out at random: p is spread over 0..1."""
    p = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = faces[["race", "age"]].assign(label="x", prediction=rng.choice(["x", "y"], len(faces), p=[0.9, 0.1]))
        p.append(audit(load_predictions(rows, labels=["x", "y"]), by="race").subset.p)
    assert sum(value <= 0.05 for value in p) <= 3
    assert max(p) > 0.3


def test_every_figure_has_its_words(result):
    """Each rate and each AIF360 metric has a definition, a source and a plain sentence."""
    for name in RATES:
        assert RATE_TEXT[name].plain.endswith(".")
    for name in result.aif360["metric"]:
        text = aif360_text(name)
        assert text.definition
        assert text.source
        assert text.plain
    assert set(result.aif360[result.aif360["kind"] == "comparison"]["metric"]) <= set(AIF360_TEXT)
    assert all(sentence.endswith(".") for sentence in result.sentences())


@pytest.mark.parametrize("outcome", ["correct", "yes"])
def test_another_minimum_count_is_the_audit_made_with_it(faces, outcome):
    """Rates and redraws are kept between minimum counts; not a digit may differ from an audit of its own."""
    predictions = load_predictions(faces, attributes=["race", "age"])
    first = audit(predictions, by=["race", "age"], outcome=outcome)
    first.to_json(aif360=False)
    for count in (1, 50, 10_000_000):
        own = audit(predictions, by=["race", "age"], outcome=outcome, min_count=count)

        assert own.to_json(aif360=False) == first.asking(60).asking(count).to_json(aif360=False)


def test_no_figure_of_a_cell_can_be_lost_to_an_attribute_of_its_name(result):
    """Every column that stands beside the attributes is refused as a name of one."""
    ours = [*result.cells, *result.auc, *result.calibration, *AVERAGES]
    assert set(ours) - set(result.by) <= RESERVED
    assert {"threshold", "tpr_low", "missing_n", "f1_high"} <= RESERVED


@pytest.mark.parametrize("name", ["error", "tpr_low", "micro_tpr"])
def test_an_attribute_named_like_a_column_of_a_figure_is_refused(faces, name):
    """By a sentence; no KeyError, and no lost name."""
    with pytest.raises(InputError, match="has the name of a figure"):
        audit(load_predictions(faces.rename(columns={"race": name})), by=name, outcome="yes")


def many_cells(rows: int, sizes: list[int], seed: int = 0):
    """Rows of so many attributes with so many values each, every answer drawn."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"g{i}": rng.integers(0, size, rows).astype(str) for i, size in enumerate(sizes)})
    table["label"], table["prediction"] = rng.choice(["x", "y", "z"], rows), rng.choice(["x", "y", "z"], rows)
    return load_predictions(table)


@pytest.mark.parametrize("outcome", ["correct", "y"])
def test_a_scan_takes_more_cells_than_a_crossing_may_have(outcome):
    """People cannot read 20,000 cells; the scan can."""
    predictions = many_cells(30_000, [5] * 8)
    names = [a.name for a in predictions.attributes]
    lines = rate_lines(predictions.cube, Question(outcome, "leave", 30, 0, 5), "accuracy", names)

    assert len(lines.count) > 20_000
    assert lines.count.sum() == 30_000
    assert lines.observed.sum() / 30_000 == audit(predictions, by=(), outcome=outcome).overall.loc[0, "accuracy"]
    with pytest.raises(InputError, match="at most 20,000 can be audited"):
        predictions.cube.table(names)


def test_cells_of_many_large_attributes_are_those_of_the_rows():
    """50 ** 12 is beyond 64 bits; the numbers of the cells must not wrap around."""
    cube = many_cells(3_000, [50] * 12).cube
    names = [a.name for a in cube.attributes]
    cell, values = cube.keys(names)

    assert (values[cell].T == cube.codes).all()
    assert len(values) == len(np.unique(cube.codes, axis=1).T)
    assert (np.unique(values, axis=0) == values).all()  # in natural order
