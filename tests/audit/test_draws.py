"""Tests for the draws: their distributions against SciPy's, and counts that always add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from visrec.audit import differences, draws


class Given:
    """A generator whose normal numbers are those it was given."""

    def __init__(self, z):
        self.z = z

    def standard_normal(self, shape):
        return np.broadcast_to(self.z, shape)


def expansion_cdf(law, n: int, counts: np.ndarray, typical: int) -> np.ndarray:
    """P(draw <= each count), from the normal number at which the draw passes it, found by bisection.

    ``n`` is that of these replicates; as many others have another, so that ``typical`` is the mean.
    """
    low, high = np.full(counts.shape, -12.0), np.full(counts.shape, 12.0)
    every = np.repeat([float(n), 2.0 * typical - n], len(counts))[None]
    for _ in range(60):
        middle = (low + high) / 2
        given = Given(np.concatenate([middle, middle]))
        drawn = draws._expanded(law, every, np.array([0]), every.size, given)[0, : len(counts)]
        low, high = np.where(drawn <= counts, middle, low), np.where(drawn <= counts, high, middle)
    return special.ndtr(low)


def total_variation(law, n: int, exact, typical: int | None = None) -> float:
    middle, spread = exact.mean(), exact.std()
    counts = np.arange(np.floor(middle - 9 * spread), np.ceil(middle + 9 * spread) + 1)
    found = np.diff(expansion_cdf(law, n, counts, typical or n), prepend=0)
    return float(np.abs(found - exact.pmf(counts)).sum() / 2)


@pytest.mark.parametrize("p", [0.5, 0.8, 0.05, 0.001])
@pytest.mark.parametrize("times", [1, 10, 1000])
def test_the_expansion_is_within_1e_5_of_the_binomial_distribution(p, times):
    """In total variation, from the smallest variance on at which it is used."""
    n = int(np.ceil(times * draws.SMOOTH / (p * (1 - p))))
    assert total_variation(draws._Binomial(np.array([p])), n, stats.binom(n, p)) < 1e-5


@pytest.mark.parametrize(
    ("n", "hits", "total"),
    [(404, 500_000, 1_000_000), (900, 1_000, 2_000), (450, 700, 2_500), (9_000, 300, 20_000), (30_000, 12_000, 90_000)],
)
def test_the_expansion_is_within_1e_5_of_the_hypergeometric_distribution(n, hits, total):
    """Whether few or most of the rows are taken."""
    law, exact = draws._Hypergeometric(np.array([hits]), np.array([total])), stats.hypergeom(total, hits, n)
    assert float(law.variance(np.array([[n]]), slice(None))[0, 0]) == pytest.approx(exact.var(), rel=1e-9)
    assert exact.var() >= 0.7 * draws.SMOOTH
    assert total_variation(law, n, exact) < 1e-5


@pytest.mark.parametrize("deviations", [-2, 2])
@pytest.mark.parametrize(("hits", "total", "typical"), [(640, 2_200, 1_100), (5_000, 25_000, 800), (900, 1_500, 700)])
def test_the_expansion_follows_each_replicates_own_number(hits, total, typical, deviations):
    """Halves have as many rows as each replicate gave them: within 2e-5 two deviations away from their mean."""
    n = typical + round(deviations * (typical * (1 - typical / (2 * total))) ** 0.5)
    drawn_out = draws._Hypergeometric(np.array([hits]), np.array([total]))
    assert total_variation(drawn_out, n, stats.hypergeom(total, hits, n), typical) < 2e-5
    assert total_variation(draws._Binomial(np.array([0.4])), n, stats.binom(n, 0.4), typical) < 2e-5


@pytest.mark.parametrize(("hits", "total", "n"), [(300, 1_000, 200), (9_000, 12_000, 900), (40, 4_000, 3_000)])
def test_third_and_fourth_cumulant_are_scipys(hits, total, n):
    """Of both laws."""
    for law, exact in (
        (draws._Binomial(np.array([hits / total])), stats.binom(n, hits / total)),
        (draws._Hypergeometric(np.array([hits]), np.array([total])), stats.hypergeom(total, hits, n)),
    ):
        asked = np.array([[float(n)]]), np.array([0])
        third, fourth = float(np.squeeze(law.third(*asked))), float(np.squeeze(law.fourth(*asked)))
        _, variance, skewness, kurtosis = exact.stats("mvsk")
        assert third == pytest.approx(skewness * variance**0.5, rel=1e-6)
        assert fourth == pytest.approx(kurtosis * variance, rel=1e-4)


counts = st.integers(0, 3) | st.integers(0, 200_000)


@given(st.lists(st.lists(counts, min_size=5, max_size=5), min_size=1, max_size=4), st.integers(0, 2**32))
def test_every_redrawn_table_keeps_its_total_and_its_empty_squares(tables, seed):
    """Small and large counts, empty tables, one square that holds everything."""
    seen = np.array(tables)
    total = seen.sum(axis=1)
    drawn = draws.multinomial(total, seen / np.maximum(total, 1)[:, None], 30, np.random.default_rng(seed))
    assert drawn.shape == (30, *seen.shape)
    assert drawn.dtype == np.int64
    assert (drawn >= 0).all()
    assert (drawn.sum(axis=-1) == total).all()
    assert not drawn[:, seen == 0].any()


@given(st.lists(counts, min_size=1, max_size=9), st.floats(0, 1), st.integers(0, 2**32))
def test_rows_dealt_out_are_all_dealt_and_never_more_than_there_is_room(places, share, seed):
    """None, some or all of the rows; places without room."""
    places = np.array(places)
    many = round(share * places.sum())
    drawn = draws.dealt(places, many, 30, np.random.default_rng(seed))
    assert drawn.shape == (30, len(places))
    assert (drawn.sum(axis=1) == many).all()
    assert (drawn >= 0).all()
    assert (drawn <= places).all()


@pytest.mark.parametrize("total", [60, 50_000])
def test_a_square_of_a_table_follows_its_own_distribution(total):
    """Whichever halves it was drawn through: binomial in a bootstrap, hypergeometric where rows are dealt out."""
    share = np.array([0.05, 0.3, 0.02, 0.2, 0.13, 0.18, 0.12])
    drawn = draws.multinomial([total], share[None], 20_000, np.random.default_rng(1))[:, 0]
    places = np.round(share * 3 * total).astype(int)
    dealt = draws.dealt(places, total, 20_000, np.random.default_rng(2))
    for square, p in enumerate(share):
        for values, exact in (
            (drawn[:, square], stats.binom(total, p)),
            (dealt[:, square], stats.hypergeom(places.sum(), places[square], total)),
        ):
            edges = np.unique(exact.ppf(np.linspace(0.02, 0.98, 25)))
            expected = np.diff(exact.cdf(edges), prepend=0, append=1)
            seen = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
            assert stats.chisquare(seen, expected * len(values)).pvalue > 1e-3 / (2 * len(share))


@pytest.mark.parametrize("total", [300, 100_000])
def test_squares_vary_together_as_in_a_multinomial(total):
    """Covariances of a bootstrap's squares, and of cells that rows are dealt out to."""
    share = np.array([0.1, 0.4, 0.15, 0.25, 0.1])
    expected = np.diag(share) - np.outer(share, share)
    drawn = draws.multinomial([total], share[None], 40_000, np.random.default_rng(3))[:, 0]
    np.testing.assert_allclose(np.cov(drawn.T) / total, expected, atol=0.006)
    places = np.round(share * 2 * total).astype(int)
    left = (places.sum() - total) / (places.sum() - 1)
    dealt = draws.dealt(places, total, 40_000, np.random.default_rng(4))
    np.testing.assert_allclose(np.cov(dealt.T) / total / left, expected, atol=0.006)


def test_a_bootstrap_and_a_redraw_are_the_same_again_from_the_same_seed():
    """And others from another."""
    n = np.array([40, 9_000])
    first, again, other = (draws.binomial(n, [0.2, 0.4], 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_seeded_generator_gives_its_normal_numbers_again_whatever_else_was_drawn():
    """So they can be remembered between two changes of a slider: other seeds and later blocks have others."""
    first, again, other = draws.Seeded(3, 1), draws.Seeded(3, 1), draws.Seeded(3, 2)
    block, later = first.normals((4, 500)), first.normals((4, 500))
    again.binomial(1_000, 0.3, 50)
    assert (again.normals((4, 500)) == block).all()
    for different in (later, other.normals((4, 500))):
        assert abs(np.corrcoef(block.ravel(), different.ravel())[0, 1]) < 0.1
    assert stats.kstest(np.concatenate([block, later]).ravel(), "norm").pvalue > 0.001
    with pytest.raises(ValueError, match="read-only"):
        block += 1  # everybody's


def test_large_blocks_of_normal_numbers_are_not_kept_in_memory():
    """66 MB in all is what the remembered ones may take."""
    before = draws._kept_normals.cache_info().currsize
    draws.Seeded(5, 5).normals((draws.ROWS, 50_000))
    assert draws._kept_normals.cache_info().currsize == before
    assert draws.KEPT * draws.KEPT_NUMBERS * 8 <= 70e6


@given(
    st.integers(1, 60).flatmap(lambda many: arrays(float, (many, 3), elements=st.floats(-5, 5).map(lambda v: v + 0.0)))
)
def test_percentiles_are_numpys_to_the_last_digit(values):
    """Two numbers put in their places give what NumPy's six do, with ties and with hardly any draws."""
    for found, share in zip(differences.percentiles(values), differences.TAILS, strict=True):
        assert (found == np.quantile(values, share, axis=0)).all()


@pytest.mark.parametrize("replicates", [0, 1, 3])
def test_few_replicates_and_empty_tables_have_their_shape(replicates):
    """Half of one replicate is none."""
    rng = np.random.default_rng(0)
    assert differences.bootstrap(np.array([[3, 4], [50_000, 60_000]]), replicates, rng).shape == (replicates, 2, 2)
    assert draws.multinomial([90_000], [[0.5, 0.5]], replicates, rng).shape == (replicates, 1, 2)
    assert draws.multinomial([], np.zeros((0, 3)), replicates, rng).shape == (replicates, 0, 3)
    assert draws.dealt([70_000, 80_000], 60_000, replicates, rng).shape == (replicates, 2)
    assert draws.binomial([], 0.5, replicates, rng).shape == (0, replicates)


def test_what_is_no_share_is_refused_as_numpy_refuses_it():
    """A NaN, and more rows than there are."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="p"):
        draws.binomial([100_000], [np.nan], 3, rng)
    with pytest.raises(ValueError, match="p"):
        draws.multinomial([90_000], [[0.5, np.nan]], 3, rng)
    with pytest.raises(ValueError, match="nsample"):
        draws.dealt([5, 7], 13, 3, rng)
