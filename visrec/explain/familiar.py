"""Familiarity: whether an image is of the kind that a model was trained on, told with a known rate of false alarms.

An image is looked at in several *views* (its pixels, its edges, the network's feature maps at each resolution), each
reduced to its main directions among training images. Two questions are put to them. Is it as usual in every view, and
no farther from the main directions? And does it look like a training image that was *spoilt*: put on its head, turned,
made a negative, cut up and put together wrongly? The strictest answer counts, and held-out images say what is usual.
"""

from dataclasses import dataclass

import numpy as np

FALSE_ALARMS = 0.02
"""Share of images of the training data's own kind that may be called unfamiliar by mistake."""
LEAST_HELD_OUT = 100
"""Held-out images needed; half of them set the scale, the other half the threshold."""
DIRECTIONS = 64
SHRINK = 0.3
CLIP = 6.0
SPOILT = ("upside down", "negative", "turned left", "cut in 4", "cut in 16")
_EDGES, _CELLS, _BEARINGS = 48, 6, 8


@dataclass(frozen=True)
class View:
    """One view's main directions: mean (w,), axes (w, d), spread (d,), and the usual square rest beyond them."""

    mean: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    rest: float

    def look(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standardised coordinates, clipped, (n, d); and log distances inside and beyond the directions, (n, 2)."""
        moved = np.asarray(values, np.float32) - self.mean
        along = moved @ self.axes
        standard = along / self.spread
        beyond = np.maximum((moved**2).sum(axis=1) - (along**2).sum(axis=1), 1e-9 * self.rest)
        distances = np.stack([np.log((standard**2).sum(axis=1) + 1e-9), np.log(beyond / self.rest)], axis=1)
        return np.clip(standard, -CLIP, CLIP), distances


@dataclass(frozen=True)
class Familiarity:
    """What is usual, and how far from it an image is.

    Attributes
    ----------
    views : one per view
    slopes : float (kinds, directions of all views), larger along it = more like that kind of spoilt image
    centre, precision : mean and inverse covariance of the log distances of held-out images
    middle, reach : float (kinds + 1,), median and 99.5th percentile of each question's score on held-out images
    usual : float (m,), sorted scores of other held-out images
    """

    views: tuple[View, ...]
    slopes: np.ndarray
    centre: np.ndarray
    precision: np.ndarray
    middle: np.ndarray
    reach: np.ndarray
    usual: np.ndarray

    def score(self, views: list[np.ndarray]) -> np.ndarray:
        """How strange images are, (n,): 0 = as the middle held-out image, 1 = as the 99.5th percentile of one question.

        Parameters
        ----------
        views : float (n, w) for each view
        """
        parts = _questions(*_looked(self.views, views), self.slopes, self.centre, self.precision)
        return ((parts - self.middle) / np.maximum(self.reach - self.middle, 1e-9)).max(axis=1)

    def percentile(self, score: float) -> float:
        """Share of held-out images that are less strange."""
        return float(np.searchsorted(self.usual, score) / len(self.usual))

    def is_far(self, score: float) -> bool:
        """Whether it is so strange that an image of the usual kind would be at most `FALSE_ALARMS` of the time.

        References
        ----------
        A conformal p-value: Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World, chapter 2; the rate
        holds on average for images drawn as the held-out ones were.
        """
        stranger = len(self.usual) - np.searchsorted(self.usual, score)
        return bool((stranger + 1) / (len(self.usual) + 1) <= FALSE_ALARMS)

    def arrays(self) -> dict[str, np.ndarray]:
        """As named arrays, to keep in a file."""
        names = ("slopes", "centre", "precision", "middle", "reach", "usual")
        kept = {f"familiar_{name}": getattr(self, name) for name in names}
        for i, view in enumerate(self.views):
            kept |= {f"familiar_view{i}_{name}": np.asarray(value) for name, value in vars(view).items()}
        return kept


def from_arrays(kept) -> Familiarity | None:
    """What `Familiarity.arrays` gave, from a mapping of names; None when it is not among them."""
    if "familiar_usual" not in kept:
        return None
    views = []
    while f"familiar_view{len(views)}_mean" in kept:
        names = (f"familiar_view{len(views)}_{name}" for name in View.__dataclass_fields__)
        mean, axes, spread, rest = (kept[name] for name in names)
        views.append(View(mean, axes, spread, float(rest)))
    names = ("slopes", "centre", "precision", "middle", "reach", "usual")
    return Familiarity(tuple(views), *(kept[f"familiar_{name}"] for name in names))


def learn(
    train: list[np.ndarray], spoilt_ones: dict[str, list[np.ndarray]], held: list[np.ndarray]
) -> Familiarity | None:
    """Learn what is usual; None with too few held-out images.

    Parameters
    ----------
    train : views of training images, float (n, w) each
    spoilt_ones : for each kind the views of training images spoilt in that way
    held : views of held-out images

    References
    ----------
    Lee et al. (2018), https://arxiv.org/abs/1807.03888, for distances at several depths; Golan and El-Yaniv (2018),
    https://arxiv.org/abs/1805.10917, and Hendrycks et al. (2019), https://arxiv.org/abs/1812.04606, for learning from
    spoilt images. Where a spoilt image is as usual as any (the sky upside down), that question falls silent by itself.
    """
    if len(held[0]) < LEAST_HELD_OUT:
        return None
    views = tuple(_directions(values) for values in train)
    usual = _looked(views, train)[0]
    slopes = np.stack([_slope(usual, _looked(views, values)[0]) for values in spoilt_ones.values()])
    scale, threshold = ([values[part::2] for values in held] for part in (0, 1))
    standard, distances = _looked(views, scale)
    centre = distances.mean(axis=0)
    spread = np.cov(distances.T) + np.diag(1e-4 * distances.var(axis=0) + 1e-12)
    precision = np.linalg.inv(spread)
    parts = _questions(standard, distances, slopes, centre, precision)
    found = Familiarity(
        views, slopes, centre, precision, np.median(parts, axis=0), np.quantile(parts, 0.995, axis=0), np.zeros(0)
    )
    return Familiarity(**(vars(found) | {"usual": np.sort(found.score(threshold)).astype(np.float32)}))


def plain_views(images: np.ndarray) -> list[np.ndarray]:
    """The views that need no network: pixels on 16 x 16, and edges by place and bearing.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)

    Returns
    -------
    list of float32 (n, 768) in [0, 1] and (n, 288), of mean square 1
    """
    return [np.stack([_pixels(x) for x in images]), np.stack([_edges(x) for x in images])]


def spoil(images: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    """Images spoilt in one way of `SPOILT`: uint8, the shape of ``images`` (n, s, s, 3)."""
    if kind == "upside down":
        return np.ascontiguousarray(images[:, ::-1])
    if kind == "negative":
        return 255 - images
    if kind == "turned left":
        return np.ascontiguousarray(np.rot90(images, axes=(1, 2)))
    random = np.random.default_rng(seed)
    return np.stack([_cut_up(image, 2 if kind == "cut in 4" else 4, random) for image in images])


def _cut_up(image: np.ndarray, parts: int, random: np.random.Generator) -> np.ndarray:
    side = image.shape[0] // parts
    out = image.copy()
    corners = [(y * side, x * side) for y in range(parts) for x in range(parts)]
    for (y, x), place in zip(corners, random.permutation(len(corners)), strict=True):
        v, u = corners[place]
        out[y : y + side, x : x + side] = image[v : v + side, u : u + side]
    return out


def _pixels(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    small = Image.fromarray(image).resize((16, 16), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255


def _edges(image: np.ndarray) -> np.ndarray:
    """Strength of edges in 6 x 6 cells by bearing, light side told from dark (Dalal and Triggs, 2005)."""
    from PIL import Image

    grey = Image.fromarray(image).convert("L").resize((_EDGES, _EDGES), Image.Resampling.BOX)
    down, right = np.gradient(np.asarray(grey, np.float32))
    bearing = ((np.arctan2(down, right) + np.pi) / (2 * np.pi) * _BEARINGS).astype(int) % _BEARINGS
    rows, columns = np.indices(down.shape) // (_EDGES // _CELLS)
    place = (rows * _CELLS + columns) * _BEARINGS + bearing
    sums = np.bincount(place.ravel(), np.hypot(down, right).ravel(), _CELLS * _CELLS * _BEARINGS)
    return (sums / (np.sqrt((sums**2).mean()) + 1e-6)).astype(np.float32)


def _directions(values: np.ndarray) -> View:
    """The main directions of a view, by the smaller of its two Gram matrices."""
    values = np.asarray(values, np.float32)
    mean = values.mean(axis=0)
    moved = values - mean
    lengths, vectors = np.linalg.eigh((moved @ moved.T).astype(np.float64))
    count = min(DIRECTIONS, int((lengths > 1e-6 * lengths[-1]).sum()) or 1)
    lengths, vectors = np.maximum(lengths[::-1][:count], 1e-12), vectors[:, ::-1][:, :count]
    axes = (moved.T @ (vectors / np.sqrt(lengths))).astype(np.float32)
    beyond = float((moved**2).sum() - lengths.sum()) / len(values)
    spread = np.sqrt(lengths / len(values)).astype(np.float32)
    return View(mean, axes, np.maximum(spread, 1e-9), max(beyond, 1e-6 * float(lengths.sum()) / len(values), 1e-12))


def _slope(usual: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """Fisher's linear discriminant between two sets of images, its covariance shrunk towards the identity."""
    within = (np.cov(usual.T) + np.cov(strange.T)) / 2 + SHRINK * np.eye(usual.shape[1])
    return np.linalg.solve(within, strange.mean(axis=0) - usual.mean(axis=0))


def _looked(views: tuple[View, ...], values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    parts = [view.look(part) for view, part in zip(views, values, strict=True)]
    return tuple(np.concatenate(part, axis=1).astype(np.float64) for part in zip(*parts, strict=True))


def _questions(standard, distances, slopes, centre, precision) -> np.ndarray:
    """Each question's score, (n, kinds + 1): one per kind of spoiling, and the distance from all that is usual."""
    moved = distances - centre
    unusual = np.einsum("ij,jk,ik->i", moved, precision, moved)
    return np.concatenate([standard @ slopes.T, np.log(unusual + 1e-9)[:, None]], axis=1)
