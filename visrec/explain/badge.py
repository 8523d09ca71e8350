"""The trust badge: whether an explanation may be believed, in a word, with the reasons.

Five questions are put to an explanation: does its linear model imitate the classifier (R2), does another seed say the
same (stability), does the answer fall faster when its heaviest superpixels go first than in random order (deletion) and
rise faster when they come first (insertion), does another method agree (occlusion), and did the answer move at all
(effect)? The thresholds come from a recorded study (benchmarks/study_badge.py, docs/adr/0021), not from taste.
"""

import time
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations

import numpy as np

from visrec.explain.lime_image import Explanation, Predict, Progress, Stop, ask, explain_image, ranking
from visrec.explain.masking import Masker, fill_image
from visrec.explain.second import occlude_superpixels

SOLID, SHAKY, DO_NOT_USE, NONE = "solid", "shaky", "do not use", "no explanation"


@dataclass(frozen=True)
class Limits:
    """From which value on a measure counts as solid, and below which it forbids use; set by the study."""

    r2: tuple[float, float] = (0.3, 0.15)
    stability: tuple[float, float] = (0.5, 0.3)
    deletion: tuple[float, float] = (0.95, 0.8)
    insertion: tuple[float, float] = (0.95, 0.8)
    agreement: tuple[float, float] = (0.4, 0.15)
    effect: tuple[float, float] = (0.2, 0.02)


LIMITS = Limits()

WORDS = {
    "r2": "the linear model imitates the classifier only in part (R2 {value:.2f})",
    "stability": "other seeds put other superpixels on top ({value:.0%} are the same)",
    "deletion": "hiding the heaviest superpixels first is hardly better than a random order",
    "insertion": "showing the heaviest superpixels first is hardly better than a random order",
    "agreement": "occlusion, another method, ranks the superpixels differently (correlation {value:.2f})",
    "effect": "the answer hardly moves whatever is hidden (by {value:.3f} of probability); another fill may tell more",
}
TOO_FEW = "{samples} samples are fewer than ten for each of the {segments} superpixels"


@dataclass(frozen=True)
class Badge:
    """What is to be thought of one explanation.

    Attributes
    ----------
    verdict : ``solid``, ``shaky``, ``do not use``, or ``no explanation`` where the answer never changed
    reasons : why it is not better, worst first; empty when solid
    r2 : weighted R2 of the linear model; 1 is perfect
    stability : share of the top superpixels that another seed also puts there, with the same sign; 1 is perfect
    deletion, insertion : share of random orders that the explanation's order beats; 1 is perfect, 0.5 is chance
    agreement : rank correlation of LIME's weights with superpixel occlusion; 1 is perfect, 0 is chance
    effect : how far hiding everything moves the class's probability, or the spread under masking if larger
    curves : probability after hiding (``deletion``) or showing (``insertion``) each ``share`` of superpixels, in the
        explanation's order, and the mean over random orders (``random``)
    seeds : the seeds that were compared
    seconds : wall time
    """

    verdict: str
    reasons: tuple[str, ...]
    r2: float
    stability: float
    deletion: float
    insertion: float
    agreement: float
    effect: float
    curves: dict[str, list[float]] = field(default_factory=dict, repr=False)
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict:
        """As plain values."""
        return asdict(self)


def judge(
    image: np.ndarray,
    predict: Predict,
    explanation: Explanation,
    *,
    label: int | None = None,
    repeats: int = 2,
    orders: int = 39,
    steps: int = 12,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Badge:
    """Put the five questions to an explanation.

    Parameters
    ----------
    image : uint8 (h, w, 3), the one that was explained
    predict : the model that was explained
    label : class; None = the one the explanation is about
    repeats : how many further seeds to explain with; each costs what the explanation cost
    orders : random orders for the deletion and insertion curves
    steps : points on those curves
    progress : called with (images asked about, images in all), over all parts of the work

    Returns
    -------
    Badge

    References
    ----------
    Petsiuk, Das, Saenko (2018) for the curves, https://arxiv.org/abs/1806.07421; Bora et al. (2024, SLICE) on seeds.
    A solid badge says that the explanation describes this model near this image, not that the model is right.
    """
    started = time.perf_counter()
    label = explanation.label if label is None else label
    if np.isnan(explanation.r2[label]):
        return _nothing_to_explain(time.perf_counter() - started)
    seeds, curve = repeats * explanation.samples, (2 + orders) * len(_points(explanation.n_segments, steps))
    whole = seeds + curve + 1 + explanation.n_segments
    others = _other_seeds(image, predict, explanation, repeats, _part(progress, 0, whole), stop)
    weights = [e.weights[label] for e in (explanation, *others)]
    curves = deletion_insertion(
        image,
        predict,
        explanation,
        label,
        orders=orders,
        steps=steps,
        progress=_part(progress, seeds, whole),
        stop=stop,
    )
    last = _part(progress, seeds + curve, whole)
    alone = occlude_superpixels(image, predict, explanation, progress=last, stop=stop)[label]
    measures = {
        "r2": float(explanation.r2[label]),
        "stability": stability(weights),
        "deletion": curves.deletion_beats,
        "insertion": curves.insertion_beats,
        "agreement": rank_correlation(weights[0], alone),
        "effect": curves.effect,
    }
    verdict, reasons = pronounce(measures, limits)
    if explanation.too_few_samples:
        verdict = SHAKY if verdict == SOLID else verdict
        few = TOO_FEW.format(samples=explanation.samples, segments=explanation.n_segments)
        reasons = (*reasons, few)
    return Badge(
        verdict,
        reasons,
        **measures,
        curves=curves.drawn,
        seeds=tuple(e.seed for e in (explanation, *others)),
        seconds=time.perf_counter() - started,
    )


def pronounce(measures: dict[str, float], limits: Limits = LIMITS) -> tuple[str, tuple[str, ...]]:
    """The verdict on measures, and the reasons why it is not better.

    Every measure must be solid for *solid*; one that is unusable, or unknown, is enough for *do not use*.

    >>> good = dict(r2=0.9, stability=0.9, deletion=1.0, insertion=1.0, agreement=0.9, effect=0.5)
    >>> pronounce(good)
    ('solid', ())
    >>> pronounce(good | {"r2": 0.1})
    ('do not use', ('the linear model imitates the classifier only in part (R2 0.10)',))
    """
    solid = {name: pair[0] for name, pair in asdict(limits).items()}
    least = {name: pair[1] for name, pair in asdict(limits).items()}
    bad = [name for name, value in measures.items() if not value >= least[name]]  # NaN is bad
    weak = [name for name, value in measures.items() if name not in bad and value < solid[name]]
    verdict = DO_NOT_USE if bad else SHAKY if weak else SOLID
    return verdict, tuple(WORDS[name].format(value=measures[name]) for name in bad + weak)


def stability(weights: list[np.ndarray], top: int | None = None) -> float:
    """Mean share of top superpixels that two seeds have in common with the same sign; NaN for a single seed.

    Parameters
    ----------
    weights : of the same superpixels, one array per seed
    top : how many count as top; None = a fifth of them, three to ten

    >>> stability([np.array([3.0, -2, 0.1]), np.array([3.0, 2, 0.1])], top=2)
    0.5
    """
    top = top or int(np.clip(len(weights[0]) // 5, 3, 10))
    tops = [{(int(i), w[i] > 0) for i in ranking(w)[:top]} for w in weights]
    shares = [len(a & b) / max(len(a), len(b)) for a, b in combinations(tops, 2)]
    return float(np.mean(shares)) if shares else float("nan")


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation, NaN where one of the two never varies.

    >>> rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 300]))
    1.0
    """
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(round(np.corrcoef(rankdata(a), rankdata(b))[0, 1], 12))


@dataclass(frozen=True)
class Curves:
    """How the answer falls and rises along the explanation's order, against random orders."""

    deletion_beats: float
    insertion_beats: float
    effect: float
    drawn: dict[str, list[float]]


def deletion_insertion(
    image: np.ndarray,
    predict: Predict,
    explanation: Explanation,
    label: int,
    *,
    orders: int = 39,
    steps: int = 12,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Curves:
    """Deletion and insertion curves of the explanation and of random orders.

    The superpixels go (or come) in the order of their weight for the class, the most supporting first. A random order
    read backwards is a random order too, so one set of random curves serves both. Draws come from the explanation's
    seed.

    Returns
    -------
    Curves
        ``deletion_beats`` and ``insertion_beats`` in [0, 1]; a tie counts half.
    """
    n = explanation.n_segments
    random = np.random.default_rng([explanation.seed, n])
    best = np.argsort(-explanation.weights[label], kind="stable")
    ranks = np.stack([_ranks(best), _ranks(best[::-1]), *(random.permutation(n) for _ in range(orders))])
    gone = _points(n, steps)
    # hidden first = small rank; the second row is insertion read from its end: the best are hidden last
    switches = (ranks[:, None, :] >= gone[None, :, None]).astype(int)
    masker = Masker(image, fill_image(image, explanation.segments, explanation.fill), explanation.segments)
    answers = ask(masker, switches.reshape(-1, n), predict, progress=progress, stop=stop)[:, label].astype(np.float64)
    curves = answers.reshape(len(ranks), len(gone))
    area = np.trapezoid(curves, gone / n, axis=1)
    drawn = {
        "share": (gone / n).tolist(),
        "deletion": curves[0].tolist(),
        "insertion": curves[1, ::-1].tolist(),
        "random": curves[2:].mean(axis=0).tolist(),
    }
    return Curves(
        _beaten(area[0] < area[2:], area[0] == area[2:]),
        _beaten(area[1] > area[2:], area[1] == area[2:]),
        float(max(abs(curves[0, 0] - curves[0, -1]), np.ptp(curves[:2]))),
        drawn,
    )


def _points(n: int, steps: int) -> np.ndarray:
    """How many of n superpixels are hidden at each point of a curve, from none to all."""
    return np.unique(np.rint(np.linspace(0, n, steps + 1)).astype(int))


def _part(progress: Progress | None, before: int, whole: int) -> Progress | None:
    """The progress of one part of the work, told as progress of the whole."""
    return None if progress is None else lambda done, _: progress(before + done, whole)


def _ranks(order: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order))
    return ranks


def _beaten(wins: np.ndarray, ties: np.ndarray) -> float:
    return float(np.mean(wins + 0.5 * ties))


def _other_seeds(image, predict, explanation, repeats, progress, stop) -> list[Explanation]:
    """The same explanation with the next seeds, on the same superpixels."""
    found = []
    for i in range(repeats):

        def told(done: int, total: int, before: int = i) -> None:
            progress(before * total + done, repeats * total)

        found.append(
            explain_image(
                image,
                predict,
                label=explanation.label,
                samples=explanation.samples,
                seed=explanation.seed + i + 1,
                segmenter=explanation.segments,
                fill=explanation.fill,
                progress=told if progress else None,
                stop=stop,
            )
        )
    return found


def _nothing_to_explain(seconds: float) -> Badge:
    unknown = float("nan")
    reason = "the answer is the same whatever is hidden, so there is nothing to explain"
    badge = Badge(NONE, (reason,), unknown, unknown, unknown, unknown, unknown, effect=0.0)
    return replace(badge, seconds=seconds)
