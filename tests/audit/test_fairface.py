"""The audit against real, published figures; skipped where the shared data is absent."""

import json

import numpy as np
import pandas as pd
import pytest

from visrec.audit import chance, formulas
from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions

NAME = "fairface-val-gender-10954"


@pytest.fixture(scope="module")
def predictions(shared):
    """A real gender classifier's answers on all of FairFace's validation images."""
    path = shared / "predictions" / f"{NAME}.csv"
    return load_predictions(path, label="gender", prediction="predicted_gender")


def test_published_rates_are_exact(predictions, shared):
    """TPR, FPR, FNR and TNR by race equal the published ones to 1e-12."""
    published = pd.read_csv(shared / "predictions" / f"{NAME}.published-rates.csv").set_index("Race")
    ours = audit(predictions, by="race", outcome="Male").cells.set_index("race")
    for rate in ("TPR", "FPR", "FNR", "TNR"):
        assert ours[rate.lower()].to_dict() == pytest.approx(published[rate].to_dict(), abs=1e-12)


def test_a_filter_leaves_the_known_confusion_rows(predictions):
    """White and 20-29: 360 women, 281 men."""
    result = audit(predictions, by="race", where=["race=White,age=20-29"])
    assert result.confusion(())[()].sum(axis=1).tolist() == [360, 281]
    assert result.labels == ("Female", "Male")


@pytest.mark.parametrize(
    ("by", "least", "points"),
    [
        (("race",), 1, 1.6),
        (("race", "age"), 1, 19.4),
        (("race", "age", "gender"), 1, 34.7),
        (("race", "age", "gender"), 30, 13.4),
    ],
)  # fmt: skip
def test_chance_alone_shows_the_known_gap(predictions, by, least, points):
    """If every cell truly had 94 %, the max-min gap would still average so many points, each within 1.0."""
    n = predictions.cube.table(by).predicted
    n = n[n >= least]
    drawn = np.random.default_rng(0).binomial(n, 0.94, size=(10_000, len(n)))
    seen = chance.redraw_shares(np.rint(0.94 * n), n, 10_000, chance.generator(0, *by))
    for x in (drawn, seen.T):
        assert 100 * np.ptp(x / n, axis=1).mean() == pytest.approx(points, abs=1.0)


def test_differential_fairness_of_a_coin_is_1_04(predictions):
    """A 50/50 answer given by chance still has an EDF of 1.04 over race x age."""
    n = predictions.cube.table(("race", "age")).predicted
    drawn = np.random.default_rng(0).binomial(n, 0.5, size=(4_000, len(n)))
    assert formulas.smoothed_edf(drawn, n).mean() == pytest.approx(1.04, abs=0.05)


def test_command_line_gives_the_figures_of_the_audit_to_the_last_digit(predictions, shared, run_command):
    """One engine, one number: --json holds exactly what the pages read."""
    path = shared / "predictions" / f"{NAME}.csv"
    done = run_command("audit", path, "--label", "gender", "--prediction", "predicted_gender", "--by", "race,age",
                       "--outcome", "Male", "--no-aif360", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    result = audit(predictions, by="race,age", outcome="Male")
    cells = result.cells.to_dict("records")
    for ours, theirs in zip(cells, document["cells"], strict=True):
        for rate in ("accuracy", "tpr", "fpr", "f1"):
            value = None if np.isnan(ours[rate]) else ours[rate]
            assert theirs[rate]["value"] == value
            assert theirs[rate]["low"] == (None if np.isnan(ours[f"{rate}_low"]) else ours[f"{rate}_low"])
    gaps = result.gaps.to_dict("records")
    assert [g["value"] for g in document["gaps"]] == [g["value"] for g in gaps]
    assert [g["null_high"] for g in document["gaps"]] == [g["null_high"] for g in gaps]
    assert [g["verdict"] for g in document["gaps"]] == [g["verdict"] for g in gaps]
