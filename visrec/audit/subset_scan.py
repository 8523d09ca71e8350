"""The subset scan: the worst subgroup, found without being told where to look.

A *subset* is, for some attributes, a set of values each (``race in {Black, Indian} and age in {0-2}``). Its *score* is
how much likelier the rows in it are under "this subset deviates" than under "all alike" (Bernoulli, log scale, 0 =
no deviation). A scan always finds something, so its p compares the score with scans of permuted rows.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from visrec.audit import chance, draws
from visrec.audit.cells import binary_counts, outcome_index
from visrec.audit.cube import Cube
from visrec.audit.gaps import LEAST_IS_BEST, Question
from visrec.audit.rates import PARTS

PENALTY, RESTARTS, LEAST_ROWS = 1e-17, 10, 10
PERMUTATIONS = 499
NARROW, WIDE = 1e-3, 1e3
MAX_VALUES, MAX_LINES = 60, 20_000


@dataclass(frozen=True)
class Lines:
    """Counted rows to scan.

    Attributes
    ----------
    names : attribute names, d of them
    codes : int32, shape (d, lines)
    observed : float64, shape (lines,), rows with the event
    count : float64, shape (lines,), all rows
    expected : probability of the event that "all alike" gives every row
    """

    names: tuple[str, ...]
    codes: np.ndarray
    observed: np.ndarray
    count: np.ndarray
    expected: float


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    Attributes
    ----------
    rate : which rate was scanned, and ``worse`` in which direction (``lower`` or ``higher``)
    subset : attribute to values; empty = no subset deviates more than everything does
    score : log likelihood ratio, >= 0, as AIF360's MDSS gives it
    p : share of scans of permuted rows that score as high; NaN if nothing was scanned
    n, value, overall : rows in the subset, the rate in it, the rate of all rows
    attributes, values : what was scanned, and how many values each has
    """

    rate: str
    worse: str
    subset: Mapping[str, tuple[str, ...]]
    score: float
    p: float
    n: int
    value: float
    overall: float
    attributes: tuple[str, ...]
    values: Mapping[str, int]

    @property
    def narrowed(self) -> dict[str, tuple[str, ...]]:
        """The subset without the attributes that it does not restrict."""
        return {name: found for name, found in self.subset.items() if len(found) < self.values[name]}

    def sentence(self) -> str:
        """The finding in words."""
        if not self.narrowed or np.isnan(self.value):
            return f"No subgroup stands out in {self.rate.replace('_', ' ')}."
        where = " and ".join(f"{name} {' or '.join(values)}" for name, values in self.narrowed.items())
        how = "chance does not explain it" if self.p <= 0.05 else "a scan of shuffled rows finds as much"
        return (
            f"Worst in {self.rate.replace('_', ' ')}: {where}: {self.value:.3f} of {self.n:,} rows against "
            f"{self.overall:.3f} overall; p = {self.p:.3f}, {how}."
        )


def scan(
    cube: Cube,
    question: Question,
    rate: str | None = None,
    attributes: Sequence[str] | None = None,
    permutations: int = PERMUTATIONS,
) -> Scan:
    """Scan all subgroups for the one whose rate is worst.

    Parameters
    ----------
    rate : a proportion; None takes accuracy
    attributes : to scan over; None takes every attribute with 2 to 60 values

    References
    ----------
    Zhang, Neill (2016), arXiv:1611.08292; Speakman et al. (2016). Restarts and bisections follow
    `aif360.detectors.mdss` 0.6.1 step by step, with a generator of its own in place of NumPy's global one.
    """
    rate = rate or "accuracy"
    names = tuple(attributes or [a.name for a in cube.attributes if 2 <= len(a.values) <= MAX_VALUES])
    lines = rate_lines(cube, question, rate, names)
    sizes = {name: len(np.unique(codes)) for name, codes in zip(names, lines.codes, strict=True)}
    worse = "higher" if rate in LEAST_IS_BEST else "lower"
    if not names or len(lines.count) < 2 or not 0 < lines.observed.sum() < lines.count.sum():
        return Scan(rate, worse, {}, 0.0, np.nan, int(lines.count.sum()), np.nan, _mean(lines), names, sizes)
    subset, score = best_subset(lines, worse, question.seed)
    p = permutation_p(lines, worse, permutations, question.seed)
    inside = _inside(lines, subset)
    n, x = lines.count[inside].sum(), lines.observed[inside].sum()
    named = {
        name: tuple(cube.attributes[cube.attribute(name)].values[v] for v in sorted(values))
        for name, values in subset.items()
    }
    return Scan(rate, worse, named, score, p, int(n), float(x / n) if n else np.nan, _mean(lines), names, sizes)


def rate_lines(cube: Cube, question: Question, rate: str, names: Sequence[str]) -> Lines:
    """Events and rows of the outcome's rate, by every combination of the attributes; expected = the pooled rate."""
    cube = _two_classes(cube, question.outcome)
    table = cube.table(names, None)  # what is scanned is no crossing for people: any number of cells will do
    counts = binary_counts(table, question.outcome, question.missing)
    top, base = PARTS[rate]
    x, n = counts[:, list(top)].sum(axis=1).astype(float), counts[:, list(base)].sum(axis=1).astype(float)
    _, codes = cube.keys(names, None)
    keep = n > 0
    return Lines(tuple(names), codes[keep].T, x[keep], n[keep], float(x.sum() / max(n.sum(), 1.0)))


def _two_classes(cube: Cube, outcome: str) -> Cube:
    """The cube as the outcome sees it: a table of many cells takes k * k numbers a cell, and only 2 * 2 are asked."""
    place = outcome_index(cube.labels, outcome)
    if place is None:  # right answers lie on the diagonal, and that is all "correct" asks
        labels, label, prediction = ("right", "wrong"), np.zeros_like(cube.label), cube.label != cube.prediction
    else:
        labels, label, prediction = ("", outcome), cube.label == place, cube.prediction == place
    prediction = np.where(cube.prediction < 0, -1, prediction).astype(np.int32)
    return replace(cube, labels=labels, label=label.astype(np.int32), prediction=prediction, score_sum=None)


def best_subset(
    lines: Lines, worse: str, seed: int = 0, restarts: int = RESTARTS
) -> tuple[dict[str, list[int]], float]:
    """The highest-scoring subset: attribute to value codes, and its score, as AIF360's MDSS finds them."""
    state = np.random.RandomState(seed)  # AIF360's own sequence of draws, without touching the global generator
    best, best_score = {}, -1e10
    for restart in range(restarts):
        subset = {} if restart == 0 else _random_subset(lines, state)
        score = _subset_score(lines, subset, worse)
        scanned = np.zeros(len(lines.names), dtype=bool)
        while not scanned.all():
            place = state.choice(len(lines.names))
            while scanned[place]:
                place = state.choice(len(lines.names))
            subset = _improved(lines, subset, place, worse)
            found = _subset_score(lines, subset, worse)
            if found > score + 1e-6:
                scanned[:] = False
            scanned[place] = True
            score = found
        if score > best_score:
            best, best_score = dict(subset), score
    return best, float(best_score)


def permutation_p(lines: Lines, worse: str, permutations: int, seed: int) -> float:
    """How often a scan of permuted rows scores as high as the scan of the rows themselves.

    All permutations are scanned at once with the closed-form score of a constant expectation, from the same starts.
    """
    if len(lines.count) > MAX_LINES:
        permutations = min(permutations, 99)
    rng = chance.generator(seed, *lines.names, "subset scan")
    n = lines.count.astype(np.int64)
    dealt = draws.dealt(n, int(lines.observed.sum()), permutations, rng)
    events = np.vstack([lines.observed[None], dealt]).T.copy()
    scores = _scan_all(lines, events, worse, rng)
    return float((1 + np.sum(scores[1:] >= scores[0] * (1 - 1e-9))) / (1 + permutations))


def _scan_all(lines: Lines, events: np.ndarray, worse: str, rng: np.random.Generator) -> np.ndarray:
    """Best score of each column of ``events`` (lines, tables), by coordinate ascent from shared random starts."""
    sizes = [int(c.max()) + 1 for c in lines.codes]
    members = [np.eye(size)[:, codes] for size, codes in zip(sizes, lines.codes, strict=True)]
    best = np.zeros(events.shape[1])
    for restart in range(RESTARTS):
        starts = [np.ones(size, dtype=bool) if restart == 0 else _some_values(size, rng) for size in sizes]
        chosen = [np.repeat(start[:, None], events.shape[1], axis=1) for start in starts]
        climbing, score = np.arange(events.shape[1]), np.full(events.shape[1], -1.0)
        for _ in range(20):
            before, seen = score[climbing], events[:, climbing]
            for place in rng.permutation(len(sizes)):
                chosen[place], found = _best_prefix(lines, seen, members[place], chosen, place, worse)
                score[climbing] = np.maximum(score[climbing], found)
            higher = score[climbing] > before + 1e-9
            climbing, chosen = climbing[higher], [mask[:, higher] for mask in chosen]
            if not len(climbing):
                break
        best = np.maximum(best, score)
    return best


def _some_values(size: int, rng: np.random.Generator) -> np.ndarray:
    kept = rng.random(size) < rng.random()
    return kept if kept.any() else np.ones(size, dtype=bool)


def _best_prefix(lines, events, members, chosen, place: int, worse: str) -> tuple[np.ndarray, np.ndarray]:
    """The best set of one attribute's values, the others held: values sorted by their rate, best prefix taken.

    Masks and sums have a column per table, so that every step runs along memory.
    """
    inside = np.ones(events.shape, dtype=bool)
    for other, mask in enumerate(chosen):
        if other != place:
            inside &= mask[lines.codes[other]]
    x, n = members @ (inside * events), (members * lines.count) @ inside.astype(float)
    rate = np.where(n > 0, x / np.maximum(n, 1), 2.0 if worse == "lower" else -1.0)
    order = np.argsort(rate if worse == "lower" else -rate, axis=0, kind="stable")
    scores = _constant_score(
        np.cumsum(np.take_along_axis(x, order, 0), 0), np.cumsum(np.take_along_axis(n, order, 0), 0),
        lines.expected, worse,
    )  # fmt: skip
    rank = np.argsort(order, axis=0)
    return rank <= scores.argmax(axis=0), scores.max(axis=0)


def _constant_score(x: np.ndarray, n: np.ndarray, expected: float, worse: str) -> np.ndarray:
    """Score at its best q when every row has the same expectation; 0 where the deviation is the other way."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(n > 0, x / np.maximum(n, 1), expected)
        q = np.clip(share * (1 - expected) / (expected * (1 - share)), NARROW, WIDE)
        score = np.where(x > 0, x * np.log(q), 0.0) - n * np.log(1 - expected + q * expected)
    right_way = q < 1 if worse == "lower" else q > 1
    return np.where(right_way, score, 0.0)


def _random_subset(lines: Lines, state: np.random.RandomState) -> dict[str, list[int]]:
    probability = state.rand(1).item()
    subset: dict[str, list[int]] = {}
    for place in state.permutation(len(lines.names)).tolist():
        values = pd.unique(lines.codes[place])
        kept = state.rand(len(values)) < probability
        if kept.sum() < len(values):
            subset[lines.names[place]] = values[kept].tolist()
            if lines.count[_inside(lines, subset)].sum() < LEAST_ROWS:
                del subset[lines.names[place]]
    return subset


def _inside(lines: Lines, subset: Mapping[str, Sequence[int]]) -> np.ndarray:
    keep = np.ones(len(lines.count), dtype=bool)
    for name, values in subset.items():
        keep &= np.isin(lines.codes[lines.names.index(name)], list(values))
    return keep


def _subset_score(lines: Lines, subset: Mapping[str, Sequence[int]], worse: str) -> float:
    penalty = PENALTY * sum(len(values) for values in subset.values())
    return round(_Rows.of(lines, _inside(lines, subset)).best_score(worse, penalty), 4)


def _improved(lines: Lines, subset: Mapping[str, list[int]], place: int, worse: str) -> dict[str, list[int]]:
    """The subset with the best values of one attribute, the others held."""
    name = lines.names[place]
    others = {k: v for k, v in subset.items() if k != name}
    inside = _inside(lines, others)
    codes = lines.codes[place][inside]
    observed, count = (np.bincount(codes, weights=w[inside]).tolist() for w in (lines.observed, lines.count))
    rows = {value: _Rows(observed[value], count[value], lines.expected) for value in np.unique(codes).tolist()}
    ranges = {value: found for value in rows if (found := rows[value].range(worse))}
    best, best_score = [], 0.0
    for low, high in itertools.pairwise(sorted({end for found in ranges.values() for end in found})):
        middle = (low + high) / 2
        chosen = [value for value, (start, end) in ranges.items() if start < middle < end]
        if chosen:
            score = _Rows.joined([rows[value] for value in chosen]).best_score(worse, PENALTY * len(chosen))
            if score > best_score:
                best, best_score = chosen, score
    if _Rows.of(lines, inside).best_score(worse, 0.0) > best_score:
        best = []
    return {**others, name: best} if best else others


@dataclass(frozen=True)
class _Rows:
    """How many rows some lines have, and events among them, with AIF360's Bernoulli score of them."""

    observed: float
    count: float
    expected: float

    @classmethod
    def of(cls, lines: Lines, keep: np.ndarray) -> "_Rows":
        return cls(float(lines.observed[keep].sum()), float(lines.count[keep].sum()), lines.expected)

    @classmethod
    def joined(cls, parts: Sequence["_Rows"]) -> "_Rows":
        return cls(sum(p.observed for p in parts), sum(p.count for p in parts), parts[0].expected)

    def score(self, q: float, penalty: float) -> float:
        return self.observed * math.log(q) - self.count * math.log(1 - self.expected + q * self.expected) - penalty

    def slope(self, q: float) -> float:
        return self.observed - self.count * q * self.expected / (1 - self.expected + q * self.expected)

    def best_q(self, worse: str) -> float:
        q = _bisected(NARROW, WIDE, lambda q: self.slope(q) > 0)
        return 1.0 if (q < 1) == (worse == "higher") and q != 1 else q

    def best_score(self, worse: str, penalty: float) -> float:
        return self.score(self.best_q(worse), penalty)

    def range(self, worse: str) -> tuple[float, float] | None:
        """Where the score is above 0, in the direction of worse; None where it never is."""
        peak = self.best_q(worse)
        if self.score(peak, PENALTY) <= 0:
            return None
        low = _bisected(NARROW, peak, lambda q: self.score(q, PENALTY) <= 0)
        high = _bisected(peak, WIDE, lambda q: self.score(q, PENALTY) > 0)
        if worse == "higher":
            return None if high < 1 else (max(low, 1.0), high)
        return None if low > 1 else (low, min(high, 1.0))


def _bisected(low: float, high: float, go_up) -> float:
    while abs(high - low) > 1e-3:
        middle = (low + high) / 2
        if go_up(middle):
            low = low + (high - low) / 2
        else:
            high = high - (high - low) / 2
    return (low + high) / 2


def _mean(lines: Lines) -> float:
    return float(lines.observed.sum() / lines.count.sum()) if lines.count.sum() else np.nan
