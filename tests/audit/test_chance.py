"""Tests for the redraws' arithmetic: the short ways give what the long ones give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from visrec.audit import chance

cells = st.lists(
    st.integers(1, 4_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=8
)


@given(cells)
def test_pair_statistics_are_scipys_chi_square(counts):
    """The pooled-variance statistic of two shares is Pearson's chi-square of their 2 x 2 table; 0 if nothing varies."""
    x, n = np.array(counts).T
    found = chance.pair_statistics(x, n)
    for i in range(len(n)):
        for j in range(i):
            table = np.array([[x[i], n[i] - x[i]], [x[j], n[j] - x[j]]])
            varies = 0 < table[:, 0].sum() < table.sum()
            expected = stats.chi2_contingency(table, correction=False).statistic if varies else 0
            assert found[i, j] == found[j, i] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(cells, st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_replicates_reach_a_level_exactly_where_all_their_pairs_say_so(counts, quantile, seed):
    """Bounds and rearranged formula decide as every pair of every replicate computed in double precision does."""
    x, n = np.array(counts).T
    drawn = chance.redraw_shares(x, n, 60, np.random.default_rng(seed))
    largest = np.array([chance.pair_statistics(column, n).max() for column in drawn.T])
    level = np.quantile(largest, quantile, method="lower") * (1 - chance.TIE)
    found = chance.largest_pair_reaches(drawn, n, level)
    close = np.abs(largest - level) <= 2e-6 * level  # single precision cannot tell these
    assert ((found == (largest >= level)) | close).all()


def test_p_of_the_largest_pair_counts_ties_and_is_never_0():
    """Equal cells give 1; a difference that no draw shows gives 1 / (1 + draws); as does one cell right, one wrong."""
    n = np.array([50, 80, 120])
    drawn = chance.redraw_shares(n // 2, n, 400, chance.generator(0, "test"))
    assert chance.largest_pair_p(n // 2, n, drawn) == 1
    assert chance.largest_pair_p(np.array([50, 40, 60]), n, drawn) == 1 / 401
    assert chance.largest_pair_p(np.array([50, 0, 120]), n, drawn) == 1 / 401
    as_drawn = np.array([chance.pair_statistics(column, n).max() for column in drawn.T])
    for column in drawn.T[:20]:
        seen = chance.pair_statistics(column, n).max()
        ties = np.sum(as_drawn >= seen * (1 - 1e-9))
        assert chance.largest_pair_p(column, n, drawn) == (1 + ties) / 401
