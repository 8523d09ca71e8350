"""scipy, statsmodels and scikit-learn as oracles for intervals, tests, AUC and power."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec.audit import intervals, planner
from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions
from visrec.audit.scores import auc_table, roc

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(pair=counts)
@settings(max_examples=60, deadline=None)
def test_intervals_equal_statsmodels(pair):
    """Wilson and Clopper-Pearson agree to 1e-9, at 0 and n too."""
    from statsmodels.stats.proportion import proportion_confint

    x, n = pair
    for ours, method in ((intervals.wilson, "wilson"), (intervals.clopper_pearson, "beta")):
        low, high = ours([x], [n])
        assert (low[0], high[0]) == pytest.approx(proportion_confint(x, n, method=method), abs=1e-9)


def test_a_share_of_nothing_has_no_interval():
    """No rows, no interval: NaN on both ends, not 0 to 1."""
    for interval in (intervals.wilson, intervals.clopper_pearson):
        assert all(math.isnan(end[0]) for end in interval([0], [0]))


@given(p=st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_holm_equals_statsmodels_and_leaves_out_what_was_not_tested(p):
    """Ties and NaN included."""
    from statsmodels.stats.multitest import multipletests

    p = np.array(p)
    known = ~np.isnan(p)
    ours = intervals.holm(p)
    assert np.isnan(ours[~known]).all()
    if known.any():
        assert ours[known] == pytest.approx(multipletests(p[known], method="holm")[1], abs=1e-9)


def test_a_small_cell_against_millions_of_rows_takes_no_memory_of_theirs():
    """Fisher's p of scipy, for sixty cells at once, in what a few thousand rows would need."""
    import tracemalloc

    from scipy.stats import fisher_exact

    x1, n1 = np.arange(60) % 6, np.full(60, 5)
    tracemalloc.start()
    p, exact = intervals.pair_p_values(x1, n1, 100_000, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert exact.all()
    assert peak < 10e6
    for hits in range(6):
        assert p[hits] == pytest.approx(fisher_exact([[hits, 5 - hits], [100_000, 900_000]])[1], abs=1e-9)
    assert p[:6].tolist() == intervals.pair_p_values(np.full(6, 100_000), 1_000_000, x1[:6], n1[:6])[0].tolist()


@given(a=counts, b=counts)
@settings(max_examples=60, deadline=None)
def test_pair_tests_equal_statsmodels_and_scipy(a, b):
    """The score test is statsmodels' pooled z; Fisher's is scipy's, where an expected count is below 5."""
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import proportions_ztest

    (x1, n1), (x2, n2) = a, b
    p, exact = intervals.pair_p_values([x1], [n1], [x2], [n2])
    if exact[0]:
        assert p[0] == pytest.approx(fisher_exact([[x1, n1 - x1], [x2, n2 - x2]])[1], abs=1e-9)
    else:
        assert p[0] == pytest.approx(proportions_ztest([x1, x2], [n1, n2])[1], abs=1e-9)


@given(data=st.data(), n=st.integers(2, 80))
@settings(max_examples=40, deadline=None)
def test_auc_and_roc_equal_sklearn_with_ties(data, n):
    """Scores on a coarse grid tie often; AUC and every point of the curve agree, one-class cells are NaN."""
    from sklearn.metrics import roc_auc_score, roc_curve

    rows = pd.DataFrame(
        {
            "label": data.draw(st.lists(st.sampled_from(["no", "yes"]), min_size=n, max_size=n)),
            "group": data.draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n)),
            "score:yes": np.array(data.draw(st.lists(st.integers(0, 10), min_size=n, max_size=n))) / 10,
        }
    )
    rows["score:no"] = 1 - rows["score:yes"]
    result = audit(load_predictions(rows), by="group", outcome="yes", replicates=5)
    scores = result.scores()
    for i, row in enumerate(auc_table(scores).itertuples()):
        cell = rows[rows["group"] == row.group]
        if cell["label"].nunique() < 2:
            assert math.isnan(row.auc)
            continue
        truth = cell["label"] == "yes"
        assert row.auc == pytest.approx(roc_auc_score(truth, cell["score:yes"]), abs=1e-9)
        fpr, tpr, _ = roc_curve(truth, cell["score:yes"], drop_intermediate=False)
        ours = roc(scores, i)
        assert ours["fpr"].to_numpy() == pytest.approx(fpr, abs=1e-9)
        assert ours["tpr"].to_numpy() == pytest.approx(tpr, abs=1e-9)


def test_power_equals_statsmodels():
    """Against the power of the same pooled-variance z test, one comparison."""
    from statsmodels.stats.proportion import power_proportions_2indep

    for p1, p2, n1, n2 in ((0.9, 0.94, 300, 2000), (0.5, 0.6, 100, 400), (0.7, 0.94, 40, 1000)):
        theirs = power_proportions_2indep(p1 - p2, p2, n1, ratio=n2 / n1, alternative="two-sided", return_results=False)
        assert float(planner.power(p1, n1, p2, n2)) == pytest.approx(theirs, abs=0.02)


def test_power_is_what_a_simulation_shows():
    """Of 4,000 simulated pairs, as many are found as the planner says."""
    rng = np.random.default_rng(0)
    n1, n2, p1, p2 = 250, 3000, 0.87, 0.94
    x1, x2 = rng.binomial(n1, p1, 4000), rng.binomial(n2, p2, 4000)
    found = np.mean(intervals.score_test(x1, n1, x2, n2) <= 0.05)
    assert float(planner.power(p1, n1, p2, n2)) == pytest.approx(found, abs=0.03)
