"""Calibrated confidence: recovers a planted temperature, and says what was observed with its interval."""

import numpy as np
import pandas as pd
import pytest

from visrec.explain.calibration import LEAST_LIKE, LIKE, WINDOW, Calibration, calibrate, fit_temperature, soften

LABELS = ["a", "b", "c"]


def answers(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too sure by a known factor, and labels drawn from the honest ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 3))
    honest = soften(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 1.0)
    truth = (honest.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return soften(honest, 1 / temperature), truth


def table(tune: int = 3000, val: int = 2000, temperature: float = 2.5) -> pd.DataFrame:
    """A predictions table of a model that is too sure."""
    probabilities, truth = answers(tune + val, temperature)
    rows = pd.DataFrame({f"score:{label}": probabilities[:, i] for i, label in enumerate(LABELS)})
    rows["label"] = np.array(LABELS)[truth]
    rows["split"] = ["tune"] * tune + ["val"] * val
    return rows


def test_a_planted_temperature_is_found():
    """Probabilities sharpened by 2.5 are softened by 2.5."""
    assert fit_temperature(*answers(5000, 2.5)) == pytest.approx(2.5, rel=0.06)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error with equally filled bins: mean of |confidence - share right|."""
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return sum(abs(confidence[p].mean() - correct[p].mean()) * len(p) for p in parts) / len(confidence)


def test_calibration_error_falls_on_rows_that_were_not_fitted():
    """Fitted on tune, looked at on val."""
    rows = table()
    found, held = calibrate(rows, LABELS), rows[rows["split"] == "val"]
    scores = held[[f"score:{label}" for label in LABELS]].to_numpy()
    right = np.array(LABELS)[scores.argmax(axis=1)] == held["label"]

    assert calibration_error(scores.max(axis=1), right.to_numpy()) > 0.1
    assert calibration_error(found.confidence, found.correct) < 0.03
    assert 3000 == found.rows


def test_the_order_of_classes_never_changes():
    """Softening is monotone: no prediction is another one after it."""
    probabilities, _ = answers(200, 3)

    softened = calibrate(table(), LABELS).apply(probabilities)

    np.testing.assert_array_equal(probabilities.argsort(axis=1), softened.argsort(axis=1))
    np.testing.assert_allclose(softened.sum(axis=1), 1)


def test_what_was_observed_comes_with_count_and_interval():
    """Of the images of like confidence so many were right; a calibrated confidence lies near that share."""
    found = calibrate(table(), LABELS)

    seen = found.observed(0.7)

    assert LIKE == seen["n"]
    assert seen["low"] < seen["value"] < seen["high"]
    assert seen["from"] < 0.7 < seen["to"]
    assert seen["low"] < 0.72
    assert seen["high"] > 0.68


def test_few_tune_rows_leave_it_unknown():
    """Unknown is NaN with the reason, and probabilities stay what they are."""
    found = calibrate(table(tune=20), LABELS)

    assert not found.known
    assert "20 tune images" in found.reason
    np.testing.assert_allclose(found.apply(np.array([0.2, 0.3, 0.5])), [0.2, 0.3, 0.5])
    assert 2000 == len(found.confidence)


def test_a_table_without_scores_is_said_to_be():
    """An imported table may hold predictions only."""
    found = calibrate(table().drop(columns="score:b"), LABELS)

    assert "no column 'score:b'" in found.reason
    assert 0 == found.observed(0.5)["n"]


def test_images_of_another_confidence_are_not_counted_as_like():
    """A model that is nearly always sure has few images in the middle: too few to say, whatever there is elsewhere."""
    sure = np.sort(np.concatenate([np.full(LEAST_LIKE - 1, 0.6), np.full(500, 0.99)]))
    found = Calibration(1.0, 100, sure, np.arange(len(sure)) % 2 == 0)

    few, many = found.observed(0.6), found.observed(0.97)

    assert LEAST_LIKE - 1 == few["n"]
    assert np.isnan(few["value"])
    assert LIKE == many["n"]
    assert many["from"] >= 0.97 - WINDOW
    assert 0 == found.observed(0.8)["n"]
