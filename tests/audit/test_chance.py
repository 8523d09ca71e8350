"""Tests for the redraws' arithmetic: the short ways give what the long ones give."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from visrec.audit import chance, differences, gaps, rates
from visrec.audit.cells import CellTable

cell = st.integers(1, 4_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
cells = st.lists(cell, min_size=2, max_size=8)


def many_classes(k: int, cells: int, rows: int) -> CellTable:
    rng = np.random.default_rng(k)
    cell, label = rng.integers(cells, size=rows), rng.integers(k, size=rows)
    counts = np.zeros((cells, k, k), dtype=np.int64)
    np.add.at(counts, (cell, label, np.where(rng.random(rows) < 0.7, label, rng.integers(k, size=rows))), 1)
    names = tuple((f"c{i}",) for i in range(cells))
    return CellTable(("g",), names, tuple(map(str, range(k))), counts, np.zeros((cells, k), dtype=np.int64))


@pytest.mark.parametrize("missing", ["leave", "wrong"])
def test_redraws_reduced_at_once_are_those_of_whole_matrices(missing):
    """Draw by draw the same balanced accuracy and F1 as from every matrix dealt out and kept."""
    table, question = many_classes(6, 3, 400), gaps.Question("correct", missing=missing, replicates=60)
    table.missing[0, 2] = 5
    table.counts[:, 4] = 0
    whole = chance.permute_classes(
        gaps.composite_counts(table, question), 60, chance.generator(0, "g", "composites")
    )  # fmt: skip
    expected, found = rates.composites(whole, False), gaps.composite_draws(table, question)
    for rate in rates.COMPOSITES:
        np.testing.assert_array_equal(found[rate], expected[rate])


def test_blocks_of_redraws_give_the_intervals_of_one_block(monkeypatch):
    """How much of a small table is drawn at a time changes no figure."""
    table, question = many_classes(6, 3, 400), gaps.Question("correct", replicates=61)
    whole = differences.composite_intervals(table, question)
    monkeypatch.setattr(differences, "BLOCK_BYTES", 8_000)
    for rate, columns in differences.composite_intervals(table, question).items():
        np.testing.assert_array_equal(columns, whole[rate])


def test_blocks_of_redraws_of_a_large_table_change_intervals_within_chance(monkeypatch):
    """A table drawn by halving takes its numbers in another order; values and counts stay what they are."""
    table, question = many_classes(2, 3, 9_000), gaps.Question("correct", replicates=4_001)
    whole = differences.composite_intervals(table, question)
    monkeypatch.setattr(differences, "BLOCK_BYTES", 20_000)
    for rate, (value, low, high, n) in differences.composite_intervals(table, question).items():
        np.testing.assert_array_equal([value, n], [whole[rate][0], whole[rate][3]])
        np.testing.assert_allclose([low, high], whole[rate][1:3], atol=0.002)


def test_memory_of_redraws_does_not_grow_with_the_square_of_the_classes(monkeypatch):
    """Whole matrices of 80 classes would take 61 MB here, those of a thousand 160 GB in an audit."""
    table, question = many_classes(80, 3, 2_000), gaps.Question("correct", replicates=400)
    monkeypatch.setattr(differences, "BLOCK_BYTES", 1_000_000)
    tracemalloc.start()
    try:
        gaps.composite_draws(table, question)
        differences.composite_intervals(table, question)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


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
    assert_reached_as_all_pairs_say(chance.redraw_shares(x, n, 60, np.random.default_rng(seed)), n, quantile)


@given(st.integers(2, 30), st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_a_level_is_reached_by_cells_that_are_not_the_farthest_too(many, quantile, seed):
    """Where cells vary unlike each other, the largest statistic may belong to cells in the middle of the table."""
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 400, many)
    assert_reached_as_all_pairs_say(rng.binomial(n[:, None], rng.beta(0.3, 3, (many, 60))), n, quantile)


def assert_reached_as_all_pairs_say(drawn, n, quantile):
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


@given(st.integers(2, 9), st.floats(0.0, 5.0), st.integers(0, 2**32))
def test_p_of_the_largest_scaled_pair_needs_only_the_pairs_that_bounds_leave_open(many, apart, seed):
    """The same p as from every pair of every replicate, with a value unknown here and there."""
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.2, 3.0, many)
    drawn = rng.normal(size=(many, 80)) * np.sqrt(variance)[:, None]
    drawn[rng.random(drawn.shape) < 0.05] = np.nan
    seen = rng.normal(size=many) * apart
    largest = chance.largest_scaled_pair(seen[:, None], variance)[0]
    expected = chance.exceedance_p(largest, chance.largest_scaled_pair(drawn, variance))
    assert chance.largest_scaled_p(seen, variance, drawn) == pytest.approx(expected, abs=1e-9)


def test_p_of_the_largest_scaled_pair_counts_ties_and_is_never_0():
    """Cells without variance, or all alike, reach the level in every draw; what no draw shows gives 1 / (1 + draws)."""
    flat = np.zeros((3, 50))
    assert chance.largest_scaled_p(np.zeros(3), np.ones(3), flat) == 1
    assert chance.largest_scaled_p(np.zeros(3), np.zeros(3), flat) == 1
    assert chance.largest_scaled_p(np.array([9.0, -9.0, 0.0]), np.ones(3), flat) == 1 / 51


def test_many_visitors_share_the_threads_that_draw():
    """Eight gap tables at once neither wait for each other for ever nor draw from each other's streams."""
    table, question = many_classes(2, 6, 3_000), gaps.Question("1", replicates=200)
    alone = gaps.gap_table(table, question)
    visitors = ThreadPoolExecutor(8)
    try:
        found = [visitors.submit(gaps.gap_table, table, question) for _ in range(8)]
        assert all(one.result(timeout=60).equals(alone) for one in found)
    finally:
        visitors.shutdown(wait=False, cancel_futures=True)
