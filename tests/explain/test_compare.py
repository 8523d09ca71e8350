"""The comparison of maps: finds what is planted, and nothing where groups are alike."""

import numpy as np
import pytest

from visrec.errors import InputError, RunError
from visrec.explain.compare import compare_groups, discoveries


def maps_of(groups: np.ndarray, seed: int, shift: float = 0.0, places: int = 36) -> np.ndarray:
    """Correlated noise, and a shift of group ``a`` at place 7."""
    random = np.random.default_rng(seed)
    maps = random.normal(size=(len(groups), places)) + random.normal(size=(len(groups), 1))
    maps[groups == "a", 7] += shift
    return maps


GROUPS = np.repeat(["a", "b", "c"], 40)


def test_a_planted_difference_is_lit_where_it_is():
    """Place 7 of group a, and not much else."""
    found = compare_groups(maps_of(GROUPS, 1, 3.0), GROUPS, np.zeros(120), permutations=1999)

    first = found.differences[0]
    assert ("a", 40, 80) == (first.group, first.n, first.n_rest)
    assert first.lit[7]
    assert first.lit.sum() <= 2
    assert first.value[7] == pytest.approx(3, abs=0.8)
    assert found.p < 0.01


def test_equal_groups_light_nothing_in_95_of_100_draws():
    """The alarm as a whole is false in at most 5 %, two Monte Carlo errors allowed (5 + 4.4)."""
    alarms = sum(
        any(
            d.lit.any()
            for d in compare_groups(maps_of(GROUPS, s), GROUPS, np.zeros(120), permutations=199, seed=s).differences
        )
        for s in range(100)
    )

    assert alarms <= 9


def test_being_wrong_more_often_is_no_difference_of_maps():
    """Wrong answers have other maps; a group with more of them must not light for that: strata hold it fixed."""

    def alarms(held_fixed: bool) -> int:
        found = 0
        for seed in range(60):
            random = np.random.default_rng(seed)
            wrong = random.random(120) < np.where(GROUPS == "a", 0.6, 0.2)
            maps = maps_of(GROUPS, 100 + seed)
            maps[wrong] += 4
            strata = wrong if held_fixed else np.zeros(120)
            found += compare_groups(maps, GROUPS, strata, permutations=99, seed=seed).p <= 0.05
        return found

    assert alarms(held_fixed=True) <= 6  # 5 % of 60 and two Monte Carlo errors
    assert alarms(held_fixed=False) > 50


def test_the_value_is_the_stratified_difference_by_hand():
    """Two strata, weights n m / (n + m): (2*1/3 * 4 + 1*1/2 * 1) / (2*1/3 + 1*1/2)."""
    groups = np.array(["a", "a", "b", "a", "b"])
    strata = np.array([0, 0, 0, 1, 1])
    maps = np.array([[5.0], [7.0], [2.0], [3.0], [2.0]])

    found = compare_groups(maps, groups, strata, permutations=9, least=1)

    expected = (2 / 3 * 4 + 1 / 2 * 1) / (2 / 3 + 1 / 2)
    assert found.differences[0].value[0] == pytest.approx(expected)
    assert found.differences[1].value[0] == pytest.approx(-expected)


def test_a_permutation_p_value_is_exact_on_a_tiny_case():
    """Three against three, all above: 2 of 20 relabellings are as extreme, two-sided."""
    groups, maps = np.repeat(["a", "b"], 3), np.arange(6.0)[:, None]

    found = compare_groups(maps, groups, np.zeros(6), permutations=9999, least=1)

    assert found.differences[0].p[0] == pytest.approx(0.1, abs=0.01)


def test_small_groups_are_left_out_and_named():
    """Unknown is said, with its count."""
    groups = np.array(["a"] * 30 + ["b"] * 30 + ["tiny"] * 4)

    found = compare_groups(maps_of(groups, 0), groups, np.zeros(64), permutations=99)

    assert {"tiny": 4} == found.left_out
    assert ["a", "b"] == [d.group for d in found.differences]


def test_a_single_group_cannot_be_compared():
    """Nothing to compare with: unknown."""
    found = compare_groups(np.ones((20, 3)), np.array(["a"] * 20), np.zeros(20))

    assert () == found.differences
    assert np.isnan(found.p)


def test_no_map_varies_no_light():
    """Constant maps: p is 1, nothing is divided by nothing."""
    found = compare_groups(np.ones((120, 3)), GROUPS, np.zeros(120), permutations=99)

    assert 1.0 == found.p
    assert not any(d.lit.any() for d in found.differences)


def test_discoveries_agree_with_statsmodels():
    """An independent implementation of Benjamini and Hochberg."""
    from statsmodels.stats.multitest import multipletests

    random = np.random.default_rng(0)
    for _ in range(50):
        p = random.random(20) ** random.choice([1, 3])

        assert multipletests(p, 0.05, "fdr_bh")[0].tolist() == discoveries(p).tolist()


def test_a_single_square_of_many_groups_can_be_found():
    """Benjamini and Hochberg ask a lone discovery for level / tests: relabellings must suffice to reach that."""
    random = np.random.default_rng(3)
    groups = np.repeat([f"g{i}" for i in range(7)], 40)
    maps = random.normal(0, 1, (280, 64))
    maps[groups == "g2", 5] += 1.5

    found = compare_groups(maps, groups, np.zeros(280))

    assert found.permutations + 1 >= 7 * 64 / 0.05
    lit = np.stack([d.lit for d in found.differences])
    assert [(2, 5)] == list(zip(*np.nonzero(lit), strict=True))


def test_comparing_can_be_stopped():
    """As every long work."""
    random = np.random.default_rng(0)

    with pytest.raises(RunError, match="cancelled"):
        compare_groups(random.normal(size=(40, 4)), np.repeat(["a", "b"], 20), np.zeros(40), stop=lambda: True)


@pytest.mark.parametrize("permutations", [0, -1, -5])
def test_fewer_than_one_relabelling_is_refused(permutations):
    """A p-value of -0.25 would come of it."""
    with pytest.raises(InputError, match=f"^{permutations} relabellings were asked for, expected at least 1"):
        compare_groups(maps_of(GROUPS, 0), GROUPS, np.zeros(120), permutations=permutations)
