"""The head: the optimum that an independent library finds, chosen on rows that are not judged."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from visrec.model import head


def data(classes, n=400, width=12, seed=0):
    """Features of unequal scale in which the classes can be told, more or less."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    features = rng.normal(size=(n, width)) + 1.5 * np.eye(classes, width)[labels]
    return (features * np.logspace(-1, 2, width) + 5).astype(np.float32), labels, np.ones(n, np.float32)


@pytest.mark.parametrize("classes", [2, 3])
def test_fit_finds_the_optimum_of_scikit_learn(classes):
    """Same problem, other solver: a convex loss has one optimum."""
    features, labels, weights = data(classes)
    rows, penalty = np.arange(len(labels)), 0.1
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-3)
    oracle = LogisticRegression(C=1 / (penalty * len(rows)), tol=1e-8, max_iter=1000).fit(scaled, labels)
    if classes == 2:  # scikit-learn has one direction for two classes; ours is symmetric: half the penalty
        oracle = LogisticRegression(C=2 / (penalty * len(rows)), tol=1e-8, max_iter=1000).fit(scaled, labels)

    ours = head.fit(features, labels, weights, rows, rows, classes=classes, epochs=500, penalty=penalty)

    np.testing.assert_allclose(ours(features), oracle.predict_proba(scaled), atol=5e-3)  # our gradients are float32


def test_weights_count_as_repetition():
    """A sample of weight two is two samples."""
    features, labels, weights = data(2, n=60)
    twice = np.r_[np.arange(60), np.arange(30)]
    heavy = weights.copy()
    heavy[:30] = 2
    rows = np.arange(60)

    by_weight = head.fit(features, labels, heavy, rows, rows, classes=2, epochs=500, penalty=0.1)
    by_copy = head._Problem(features[twice], labels[twice], np.ones(90, np.float32), np.arange(90), slice(None), 2)

    assert by_copy._total == pytest.approx(heavy.sum())
    assert np.isfinite(by_weight.loss)


def test_rows_of_val_are_never_looked_at():
    """A feature table also holds val and test rows; turning them to nonsense must change nothing."""
    features, labels, weights = data(2)
    spoilt = features.copy()
    spoilt[300:] = np.nan
    train, tune = np.arange(250), np.arange(250, 300)

    def found(table):
        penalty, _ = head.choose_penalty(table, labels, weights, (train, tune), 2, slice(None), 50, 0, lambda: None)
        return head.fit(table, labels, weights, train, tune, classes=2, penalty=penalty).kernel

    np.testing.assert_array_equal(found(features), found(spoilt))


def test_columns_choose_features():
    """Only some features are seen, as if the others were not there."""
    features, labels, weights = data(2)
    rows = np.arange(len(labels))

    part = head.fit(features, labels, weights, rows, rows, classes=2, penalty=0.1, columns=slice(0, 5))
    alone = head.fit(features[:, :5].copy(), labels, weights, rows, rows, classes=2, penalty=0.1)

    np.testing.assert_allclose(part.kernel, alone.kernel, rtol=1e-3, atol=1e-5)


def test_twenty_rows_are_enough_to_fit_something():
    """Small data: folds stand in for the tune rows."""
    features, labels, weights = data(2, n=20)

    penalty, loss = head.choose_penalty(
        features, labels, weights, (np.arange(18), np.arange(18, 20)), 2, slice(None), 50, 0, lambda: None
    )

    assert penalty in head.PENALTIES
    assert np.isfinite(loss)
