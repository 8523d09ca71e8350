"""Tests for visrec.audit.scores and visrec.audit.thresholds."""

import numpy as np
import pandas as pd
import pytest

from visrec.audit import thresholds
from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions
from visrec.audit.scores import auc_table, calibration, calibration_table, roc
from visrec.errors import InputError


@pytest.fixture
def audited(faces):
    """The faces by race, for the class yes."""
    return audit(load_predictions(faces), by="race", outcome="yes", replicates=200)


def test_binned_auc_is_exact_within_its_stated_error(faces, tmp_path):
    """A table too large to keep has its AUC from 2,000 bins, and the truth lies within the error it states."""
    exact = audit(load_predictions(faces), by="race", outcome="yes").auc
    for outcome in ("yes", "no"):
        binned = audit(load_predictions(faces, keep_rows=False), by="race", outcome=outcome).auc
        assert (binned["error"] > 0).all()
        assert (binned["error"] < 1e-3).all()
        assert (np.abs(binned["auc"] - exact["auc"]) <= binned["error"] + 1e-12).all()


def test_calibration_of_binned_scores_is_that_of_rows(faces):
    """Mean scores come from sums per bin, so they are exact; Brier and ECE nearly."""
    kept = calibration_table(audit(load_predictions(faces), by="race", outcome="yes").scores())
    binned = calibration_table(audit(load_predictions(faces, keep_rows=False), by="race", outcome="yes").scores())
    assert binned["mean_score"].to_numpy() == pytest.approx(kept["mean_score"].to_numpy(), abs=1e-9)
    assert binned["observed"].to_numpy() == pytest.approx(kept["observed"].to_numpy(), abs=1e-12)
    assert binned["brier"].to_numpy() == pytest.approx(kept["brier"].to_numpy(), abs=1e-5)


def test_calibration_bins_hold_every_row(audited):
    """The curve's counts add up, and a score of 1.0 is in the last bin."""
    curve = calibration(audited.scores())
    assert curve["n"].sum() == 3000
    assert curve["score"].between(curve["from"], curve["to"]).all()


def test_one_class_cells_have_no_auc():
    """Without negatives there is nothing to rank against: NaN."""
    rows = pd.DataFrame(
        {"label": ["yes", "yes", "no"], "prediction": ["yes", "no", "no"], "g": ["a", "a", "b"], "s": [0.9, 0.2, 0.1]}
    )
    scores = audit(load_predictions(rows, scores="s"), by="g", outcome="yes").scores()
    assert auc_table(scores)["auc"].isna().all()
    assert roc(scores, 0)["fpr"].isna().sum() == 2


def test_threshold_one_half_gives_the_models_own_answers(audited):
    """The faces were answered from 0.5 on, so counting them anew there changes nothing."""
    table = thresholds.table_at(audited.scores(), 0.5, "yes")
    assert (table.counts == audited.table.counts).all()


def test_steps_count_as_each_threshold_does(audited):
    """The cumulative counts equal counting anew at every step, ties on the edge included."""
    scores = audited.scores()
    scores.score[:40] = 0.29  # lies on an edge
    counts = thresholds.counts_at_steps(scores)
    for step in (0, 58, 100, 200):
        table = thresholds.table_at(scores, thresholds.EDGES[step], "yes")
        assert (counts[step].reshape(-1, 2, 2) == table.counts).all()


def test_a_searched_threshold_is_reported_cross_fitted(audited):
    """The chosen threshold narrows the gap on the rows searched; what is reported was counted on rows left out."""
    found = thresholds.choose(audited.scores(), audited.question, "tpr", most_cost=0.1)
    assert found.gap <= found.before_gap
    assert found.table.predicted.sum() == 3000
    assert found.fitted_accuracy >= found.before_accuracy - 0.15
    assert set(found.gaps["rate"]) >= {"tpr", "accuracy"}
    assert len(set(found.thresholds)) == 1


def test_thresholds_per_cell_close_a_gap_that_one_cannot(audited):
    """With a threshold of its own each cell reaches the same TPR, at a bounded cost."""
    one = thresholds.choose(audited.scores(), audited.question, "tpr", most_cost=0.05)
    each = thresholds.choose(audited.scores(), audited.question, "tpr", per_cell=True, most_cost=0.05)
    assert each.gap <= one.gap
    assert each.gap < 0.02
    assert len(set(each.thresholds)) > 1


def test_search_without_noise_flatters_less_than_noise():
    """On scores that say nothing, the searched gap is small by selection and the cross-fitted one is not."""
    rng = np.random.default_rng(0)
    n = 240
    rows = pd.DataFrame({"label": rng.choice(["no", "yes"], n), "g": rng.choice(list("abcd"), n), "s": rng.random(n)})
    rows["prediction"] = np.where(rows["s"] >= 0.5, "yes", "no")
    result = audit(
        load_predictions(rows, scores="s", score_class="yes"), by="g", outcome="yes", min_count=5, replicates=50
    )
    found = thresholds.choose(result.scores(), result.question, "tpr", per_cell=True, most_cost=0.1)
    assert found.fitted_gap > found.gap


def test_a_gap_is_not_closed_by_a_threshold_that_the_worst_group_does_not_reach():
    """At 0.865 four rows of C are selected: too few to judge, and so the gap among the others looked closed."""
    rng, parts = np.random.default_rng(0), []
    for name, n, ppv, top in (("A", 400, 0.95, 0.99), ("B", 400, 0.94, 0.99), ("C", 45, 0.62, 0.88)):
        right = rng.permutation(np.arange(n) < ppv * n)
        score = [*np.linspace(0.55, top, n), *[0.1] * 40 * n]
        parts.append(pd.DataFrame({"g": name, "label": [*np.where(right, "yes", "no"), *["no"] * 40 * n], "s": score}))
    rows = pd.concat(parts, ignore_index=True)
    rows["prediction"] = np.where(rows["s"] >= 0.5, "yes", "no")
    predictions = load_predictions(rows, scores="s", score_class="yes")
    result = audit(predictions, by="g", outcome="yes", replicates=50)
    scores = result.scores()
    found = thresholds.choose(scores, result.question, "ppv")
    counts = thresholds.table_at(scores, found.thresholds[0], "yes").counts
    sweep = thresholds.sweep(scores, "ppv")

    assert (counts[:, :, 1].sum(1) >= 30).all()
    assert found.gap > 0.1
    for threshold, gap in sweep[["threshold", "gap"]].to_numpy():
        selected = thresholds.table_at(scores, threshold, "yes").counts[:, :, 1].sum(1)
        assert np.isnan(gap) == (selected < 30).any()


@pytest.mark.parametrize("score", [0.005, 0.1, 0.4, 0.55, 0.8])
def test_rows_exactly_on_the_threshold_are_selected_in_a_large_table_too(score):
    """Kept in bins, their mean fell just below the score that all of them have."""
    rows = pd.DataFrame({"label": ["yes", "no"] * 500, "prediction": "yes", "g": "a", "score:yes": score})
    rows["score:no"] = 1 - score
    for keep_rows in (True, False):
        result = audit(load_predictions(rows, keep_rows=keep_rows), by="g", outcome="yes", replicates=20)
        assert 1000 == thresholds.table_at(result.scores(), score, "yes").counts[:, :, 1].sum()


def test_recalibration_mends_overconfident_scores(faces):
    """Scores pushed to the ends are pulled back, cross-fitted, in every cell."""
    logit = np.log(faces["score:yes"] / faces["score:no"])
    pushed = 1 / (1 + np.exp(-12 * logit))
    rows = faces.assign(**{"score:yes": pushed, "score:no": 1 - pushed})
    scores = audit(load_predictions(rows), by="race", outcome="yes").scores()
    frame = thresholds.calibration_comparison(scores)
    assert (frame["brier_one"] < frame["brier"]).all()
    assert (frame["ece_one"] < frame["ece"]).all()
    assert thresholds.recalibrate(scores).positive.sum() == scores.positive.sum()


def test_folds_hold_out_every_row_once(audited, faces):
    """For rows and for bins alike, the five held-out parts add up to the table."""
    for scores in (
        audited.scores(),
        audit(load_predictions(faces, keep_rows=False), by="race", outcome="yes").scores(),
    ):
        parts = thresholds.folds(scores, 0)
        assert sum(int(h.positive.sum()) for _, h in parts) == scores.positive.sum()
        for others, held in parts:
            assert others.negative.sum() + held.negative.sum() == scores.negative.sum()


def test_scores_are_asked_for_in_a_sentence(faces):
    """Without scores, or for `correct`, it is said what is missing."""
    plain = load_predictions(faces.drop(columns=["score:no", "score:yes"]))
    with pytest.raises(InputError, match="has no scores; thresholds, ROC"):
        audit(plain, by="race", outcome="yes").scores()
    with pytest.raises(InputError, match="Scores speak for a class, not for 'correct'"):
        audit(load_predictions(faces), by="race").scores()
    result = audit(load_predictions(faces), by="race", outcome="yes")
    with pytest.raises(InputError, match="No threshold decides the rate 'missing'"):
        thresholds.choose(result.scores(), result.question, "missing")
