"""The surrogate: a small linear model that imitates the classifier near one image.

A weighted ridge regression of the model's answers on which superpixels were visible; samples that resemble the
whole image count more. Its coefficients are the superpixel weights, its R2 says how well it imitates.
"""

from dataclasses import dataclass

import numpy as np

KERNEL_WIDTH = 0.25
RIDGE = 1.0


@dataclass(frozen=True)
class Surrogate:
    """One linear model per class.

    Attributes
    ----------
    weights : float64 (k, n_segments); change of the class's probability when a superpixel is shown
    intercept : float64 (k,); answer with every superpixel hidden
    r2 : float64 (k,); 1 = imitates the model perfectly, 0 = no better than a constant,
        NaN = the model's answer never changed, so there is nothing to explain
    local_prediction : float64 (k,); the linear model's answer for the whole image
    """

    weights: np.ndarray
    intercept: np.ndarray
    r2: np.ndarray
    local_prediction: np.ndarray


def draw_switches(samples: int, segments: int, seed: int) -> np.ndarray:
    """Which superpixels each sample shows: the very draws of ``lime`` 0.2.0.1.

    Parameters
    ----------
    samples, segments : counts, at least 1
    seed : what stock LIME calls the explainer's ``random_state``

    Returns
    -------
    int64 {0, 1} (samples, segments); the first row is all ones: the image itself

    Notes
    -----
    Stock LIME draws one integer for the segmentation before the masks; it is drawn, and thrown away, here too.
    The first rows of a longer draw are the shorter draw, so stopping early equals asking for fewer samples.
    """
    random = np.random.RandomState(seed)
    random.randint(0, high=1000)
    switches = random.randint(0, 2, samples * segments).reshape(samples, segments)
    switches[0] = 1
    return switches


def kernel_weights(switches: np.ndarray) -> np.ndarray:
    """How much each sample counts, in (0, 1]: an exponential kernel over the cosine distance to the whole image.

    >>> kernel_weights(np.array([[1, 1], [0, 0]])).round(6).tolist()
    [1.0, 0.000335]
    """
    distances = 1 - np.sqrt(switches.mean(axis=1))
    return np.sqrt(np.exp(-(distances**2) / KERNEL_WIDTH**2))


def fit_surrogate(switches: np.ndarray, answers: np.ndarray) -> Surrogate:
    """Fit the ridge of every class at once; they share one factorisation.

    Parameters
    ----------
    switches : {0, 1} (samples, n_segments), first row all ones
    answers : float (samples, k), the model's probabilities

    References
    ----------
    Ribeiro, Singh, Guestrin (2016), "Why Should I Trust You?", https://arxiv.org/abs/1602.04938.
    Limit: with fewer than about ten samples per superpixel the weights depend on the draws.
    """
    from scipy.linalg import cho_factor, cho_solve

    kernel = kernel_weights(switches)
    shown, answers = switches.astype(np.float64), np.asarray(answers, np.float64)
    shown_mean, answer_mean = np.average(shown, axis=0, weights=kernel), np.average(answers, axis=0, weights=kernel)
    root = np.sqrt(kernel)[:, None]
    x, y = (shown - shown_mean) * root, (answers - answer_mean) * root
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += RIDGE
    weights = cho_solve(cho_factor(gram), x.T @ y)
    intercept = answer_mean - shown_mean @ weights
    left = np.square(y - x @ weights).sum(axis=0)
    return Surrogate(weights.T.copy(), intercept, _r2(left, y, answers), intercept + weights.sum(axis=0))


def _r2(left: np.ndarray, centred: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """1 - residual / spread; NaN where the spread is nothing but rounding."""
    spread = np.square(centred).sum(axis=0)
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(answers).max(axis=0), np.finfo(np.float32).tiny)
    varies = np.ptp(answers, axis=0) > 4 * rounding
    return np.where(varies, 1 - left / np.where(varies, spread, 1), np.nan)
