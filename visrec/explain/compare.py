"""Comparing maps between groups: where mean maps differ by more than relabelling the images would make them.

Each group is compared with the rest. Images are exchanged only within the same label and prediction, so a group that is
more often wrong does not look different for that alone. First one test of everything together (the largest difference
anywhere); only if it says that something differs are places looked at, and those that survive Benjamini and Hochberg's
control of false discoveries are *significant*. Of these the ones that matter are *lit*: at least a fifth of the group's
largest, because a strong difference in one place moves every other place a little. Unlit means *cannot tell*, not *the
same*.
"""

from dataclasses import dataclass

import numpy as np

from visrec.errors import InputError, RunError
from visrec.explain.lime_image import Progress, Stop

LEVEL = 0.05
LEAST_PERMUTATIONS, MOST_PERMUTATIONS = 4999, 99_999
RELABELLING = 4e-8
"""Seconds of one relabelling of one image for one group, on maps of 64 squares: 3e-8 (63 groups) to 8e-8 (7 groups)."""
MATTERS = 0.2
"""A significant difference is lit from this share of the group's largest significant one on."""


@dataclass(frozen=True)
class Difference:
    """One group against the rest.

    Attributes
    ----------
    group : name
    n, n_rest : images that could be compared (their label and prediction occur on both sides)
    value : float64 (m,), mean of the group minus mean of the rest, place by place, label and prediction held fixed;
        NaN where nothing could be compared
    p : float64 (m,), permutation p-value, two-sided
    significant : bool (m,), where the difference is more than chance
    lit : bool (m,), where it is, and is not merely the echo of a larger one
    """

    group: str
    n: int
    n_rest: int
    value: np.ndarray
    p: np.ndarray
    significant: np.ndarray
    lit: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """All groups, each against the rest.

    Attributes
    ----------
    differences : one per group with enough images
    p : permutation p-value of "nothing differs anywhere"; NaN when nothing could be compared
    permutations : number of relabellings
    left_out : groups with too few comparable images, with their number
    """

    differences: tuple[Difference, ...]
    p: float
    permutations: int
    left_out: dict[str, int]


def compare_groups(
    maps: np.ndarray,
    groups: np.ndarray,
    strata: np.ndarray,
    *,
    permutations: int | None = None,
    least: int = 10,
    level: float = LEVEL,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Comparison:
    """Compare each group with the rest.

    Parameters
    ----------
    maps : float (n, m), one map per image, m places
    groups : str (n,)
    strata : (n,), images are exchanged only within equal values (label and prediction)
    permutations : relabellings, at least 1; None = as many as `enough_permutations` says
    least : comparable images that a group needs, and the rest too
    level : share of false discoveries, and of false alarms of the whole
    progress : called with (relabellings done, relabellings in all)
    stop : called now and then; True ends the work with ``RunError``

    Raises
    ------
    InputError
        Fewer than one relabelling was asked for.

    References
    ----------
    Phipson and Smyth (2010) for the p-values, which are never 0; Benjamini and Hochberg (1995).
    """
    if permutations is not None and permutations < 1:
        raise InputError(f"{permutations} relabellings were asked for, expected at least 1 and better thousands.")
    maps, codes, names, layers = np.asarray(maps, np.float64), *_coded(groups), _coded(strata)[0]
    plans = {i: _Plan(codes, layers, i) for i in range(len(names))}
    enough = [i for i, plan in plans.items() if plan.n >= least and plan.n_rest >= least]
    left_out = {names[i]: plan.n for i, plan in plans.items() if i not in enough}
    if not enough or len(names) < 2:
        return Comparison((), float("nan"), 0, left_out)
    observed = np.stack([plans[i].difference(codes[None], maps)[0] for i in enough])
    permutations = permutations or enough_permutations(observed.size, level)
    beyond, p_all = _permuted(
        observed, maps, codes, layers, [plans[i] for i in enough], permutations, seed, progress, stop
    )  # fmt: skip
    p = (beyond + 1) / (permutations + 1)
    significant = discoveries(p, level) if p_all <= level else np.zeros(p.shape, bool)
    found = (
        Difference(names[i], plans[i].n, plans[i].n_rest, v, q, s, worth_lighting(v, s))
        for i, v, q, s in zip(enough, observed, p, significant, strict=True)
    )
    return Comparison(tuple(found), p_all, permutations, left_out)


def enough_permutations(tests: int, level: float = LEVEL) -> int:
    """Relabellings with which a single place among so many can become a discovery, within bounds.

    The smallest p-value is 1 / (permutations + 1), and Benjamini and Hochberg ask a lone discovery for level / tests.

    >>> enough_permutations(2 * 64), enough_permutations(7 * 64), enough_permutations(63 * 64)
    (5119, 17919, 99999)
    """
    needed = int(np.ceil(2 * tests / level)) - 1  # twice that, so that one relabelling may reach the place by chance
    return int(np.clip(needed, LEAST_PERMUTATIONS, MOST_PERMUTATIONS))


def seconds_to_compare(groups: int, images: int, squares: int) -> float:
    """About how long a comparison takes on one core, for estimates: the relabellings of `enough_permutations`.

    >>> round(seconds_to_compare(7, 420, 64)), round(seconds_to_compare(63, 3780, 64))
    (2, 953)
    """
    return RELABELLING * enough_permutations(groups * squares) * groups * images


def discoveries(p: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Benjamini and Hochberg's step-up: which p-values are discoveries, bool of the same shape.

    >>> discoveries(np.array([0.01, 0.04, 0.03, 0.5])).tolist()
    [True, False, False, False]
    """
    order = np.sort(p, axis=None)
    passed = np.flatnonzero(order <= level * np.arange(1, order.size + 1) / order.size)
    return p <= (order[passed[-1]] if len(passed) else -1.0)


def worth_lighting(values: np.ndarray, significant: np.ndarray) -> np.ndarray:
    """Which significant differences are not merely echoes of a larger one: bool of the same shape.

    >>> worth_lighting(np.array([1.0, -0.5, 0.1, 3.0]), np.array([True, True, True, False])).tolist()
    [True, True, False, False]
    """
    size = np.where(significant, np.abs(values), 0)
    return significant & (size >= MATTERS * size.max(initial=0))


class _Plan:
    """The weighted mean difference of one group and the rest as a linear function of the maps."""

    def __init__(self, codes: np.ndarray, layers: np.ndarray, group: int):
        self.group = group
        inside = np.bincount(layers, codes == group)
        outside = np.bincount(layers) - inside
        both = (inside > 0) & (outside > 0)
        weight = np.where(both, inside * outside / np.maximum(inside + outside, 1), 0.0)
        total = weight.sum() or 1.0
        self.n, self.n_rest = int(inside[both].sum()), int(outside[both].sum())
        # numbers per stratum stay what they are under relabelling, so these factors do too
        self._in = (weight / np.maximum(inside, 1) / total)[layers]
        self._out = (weight / np.maximum(outside, 1) / total)[layers]

    def difference(self, codes: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Differences for relabellings codes (b, n): float64 (b, m)."""
        return np.where(codes == self.group, self._in, -self._out) @ maps


def _permuted(observed, maps, codes, layers, plans, permutations: int, seed: int, progress, stop, block: int = 250):
    """How often relabelled differences reach the observed ones, place by place; and the p-value of the whole."""
    random = np.random.default_rng(seed)
    order = np.argsort(layers, kind="stable")
    spread = _null_spread(maps, codes, layers, plans, random)
    largest = (np.abs(observed) / spread).max()
    beyond, whole = np.zeros(observed.shape), 0
    slack = 1e-12 * np.abs(maps).max(initial=1e-300)  # equal up to rounding counts as reached
    for first in range(0, permutations, block):
        if stop is not None and stop():
            raise RunError("The comparison was cancelled.")
        labels = _relabelled(codes, layers, order, random, min(block, permutations - first))
        found = np.stack([plan.difference(labels, maps) for plan in plans], axis=1)
        beyond += (np.abs(found) >= np.abs(observed) - slack).sum(axis=0)
        whole += int(((np.abs(found) / spread).max(axis=(1, 2)) >= largest - 1e-9).sum())
        if progress is not None:
            progress(first + len(labels), permutations)
    return beyond, (whole + 1) / (permutations + 1)


def _null_spread(maps, codes, layers, plans, random) -> np.ndarray:
    """Standard deviation of each difference under relabelling, so that places can be compared: (groups, m)."""
    labels = _relabelled(codes, layers, np.argsort(layers, kind="stable"), random, 200)
    spread = np.stack([plan.difference(labels, maps).std(axis=0) for plan in plans])
    return np.where(spread > 1e-9 * np.abs(maps).max(initial=0), spread, np.inf)  # rounding is no spread


def _relabelled(codes, layers, order, random, count: int) -> np.ndarray:
    """Group codes shuffled within strata: int (count, n)."""
    keys = random.random((count, len(codes)))[:, order] + layers[order]  # sorting by these shuffles within strata
    shuffled = codes[order][np.argsort(keys, axis=1)]
    labels = np.empty_like(shuffled)
    labels[:, order] = shuffled
    return labels


def _coded(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    names, codes = np.unique(np.asarray(values, str), return_inverse=True)
    return codes, names.tolist()
