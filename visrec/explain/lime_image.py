"""LIME for one image: stock LIME's answer, faster, with its quality beside it.

An *explanation* is one weight per superpixel and class: how much showing that superpixel moves the model's
probability, according to a linear model fitted on maskings of this image. The draws, the kernel and the regression
are those of ``lime`` 0.2.0.1 for the same seed, superpixels and number of samples; only masking and batching are ours.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from visrec.errors import InputError, RunError
from visrec.explain.masking import Masker, fill_image
from visrec.explain.segments import Segmenter, segment
from visrec.explain.surrogate import draw_switches, fit_surrogate

Predict = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]
Stop = Callable[[], bool]

DEFAULT_BATCH = 64
PER_SEGMENT = 10
LEAST_SAMPLES = 1000


@dataclass(frozen=True)
class Explanation:
    """Superpixel weights of one image, for every class.

    Attributes
    ----------
    segments : int32 (h, w), superpixel of each pixel, 0 ... n-1
    weights : float64 (k, n); positive supports the class, negative opposes it; in units of probability
    intercept : float64 (k,)
    r2 : float64 (k,), weighted R2 of the linear model; 1 is perfect, NaN: the answer never changed
    local_prediction : float64 (k,), the linear model's answer for the whole image
    prediction : float64 (k,), the model's own probabilities for the whole image
    label : class that was asked for, or the predicted one
    samples, seed : what it was computed from
    segmenter, fill : how the image was cut and masked
    seconds : wall time of ``segment``, ``mask``, ``forward`` and ``fit``
    """

    segments: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    r2: np.ndarray
    local_prediction: np.ndarray
    prediction: np.ndarray
    label: int
    samples: int
    seed: int
    segmenter: str = "slic"
    fill: str = "mean"
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[int, ...]:
        """Every class is explained: the costly part, asking the model, is shared."""
        return tuple(range(len(self.weights)))

    @property
    def n_segments(self) -> int:
        """Number of superpixels."""
        return self.weights.shape[1]

    @property
    def too_few_samples(self) -> bool:
        """Fewer than ten samples per superpixel: the weights then depend on the draws."""
        return self.samples < PER_SEGMENT * self.n_segments


def ranking(weights: np.ndarray) -> np.ndarray:
    """Order by absolute weight, heaviest first; equal weights keep their numbering, so the order is reproducible.

    >>> ranking(np.array([0.1, -0.5, 0.1])).tolist()
    [1, 0, 2]
    """
    return np.argsort(-np.abs(weights), kind="stable")


def explain_image(
    image: np.ndarray,
    predict: Predict,
    *,
    label: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    segmenter: Segmenter = "slic",
    fill: str = "mean",
    batch_size: int | None = None,
    adaptive: bool = False,
    dtype=np.float32,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Explanation:
    """Weigh the superpixels of one image.

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB, at the size the model takes
    predict : function of float32 (b, h, w, 3) in 0 ... 255 that returns probabilities (b, k)
        The batch it is given is overwritten by the next one, so it must not keep it.
    label : class to look at first; None = the predicted one. All classes are explained in any case.
    samples : number of maskings; None = ten for each superpixel, at least 1000
    seed : of the maskings; the same seed gives the same weights
    segmenter : ``slic``, ``quickshift``, ``felzenszwalb``, a function, or a finished label map
    fill : ``mean``, ``blur`` or ``grey``: what hides a superpixel
    batch_size : images per call of ``predict``; None = its attribute ``batch_size``, else 64
    adaptive : stop when the heaviest superpixels have settled; equals asking for that many samples
    dtype : float64 only to compare to the last digit
    progress : called with (samples done, samples in all)
    stop : called before each batch; True ends the work

    Returns
    -------
    Explanation

    Raises
    ------
    InputError
        The image, an option or the answer of ``predict`` is not what it has to be.
    RunError
        ``stop`` asked to end.

    References
    ----------
    Ribeiro, Singh, Guestrin (2016), https://arxiv.org/abs/1602.04938. It describes the model near this image, not
    the world; read its R2 and its badge (`visrec.explain.badge`) first.
    """
    check_image(image)
    started = time.perf_counter()
    segments = segment(image, segmenter)
    count = int(segments.max()) + 1
    samples = max(LEAST_SAMPLES, PER_SEGMENT * count) if samples is None else int(samples)
    if samples < 2:
        raise InputError(f"LIME was asked for {samples} samples, expected at least 2 and better 10 per superpixel.")
    masker = Masker(image, fill_image(image, segments, fill), segments, dtype)
    seconds = {"segment": time.perf_counter() - started}
    switches = draw_switches(samples, count, seed)
    settled = Settling(label) if adaptive else None
    answers = ask(masker, switches, predict, batch_size, progress=progress, stop=stop, seconds=seconds, enough=settled)
    switches = switches[: len(answers)]
    started = time.perf_counter()
    surrogate = fit_surrogate(switches, answers)
    seconds["fit"] = time.perf_counter() - started
    return Explanation(
        segments=segments,
        **vars(surrogate),
        prediction=answers[0].astype(np.float64),
        label=_checked_label(label, answers[0]),
        samples=len(answers),
        seed=seed,
        segmenter=segmenter if isinstance(segmenter, str) else "own",
        fill=fill,
        seconds=seconds,
    )


def ask(
    masker: Masker,
    switches: np.ndarray,
    predict: Predict,
    batch_size: int | None = None,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
    seconds: dict[str, float] | None = None,
    enough: Callable[[np.ndarray, np.ndarray], bool] | None = None,
) -> np.ndarray:
    """The model's probabilities for each masking: float (n, k); fewer rows if ``enough`` said so."""
    total, batch = len(switches), batch_size or getattr(predict, "batch_size", None) or DEFAULT_BATCH
    spent = {"mask": 0.0, "forward": 0.0}
    answers: list[np.ndarray] = []
    told = 0
    for first in range(0, total, batch):
        if stop is not None and stop():
            raise RunError("The explanation was cancelled.")
        started = time.perf_counter()
        images = masker.compose(switches[first : first + batch])
        composed = time.perf_counter()
        answers.append(checked_probabilities(predict(images), len(images)))
        spent["mask"] += composed - started
        spent["forward"] += time.perf_counter() - composed
        done = first + len(images)
        if progress is not None and (done == total or done - told >= total / 100):
            progress(done, total)
            told = done
        if enough is not None and done < total and enough(switches[:done], np.concatenate(answers)):
            break
    if seconds is not None:
        seconds.update({k: seconds.get(k, 0.0) + v for k, v in spent.items()})
    return np.concatenate(answers)


class Settling:
    """Whether the heaviest superpixels have stopped changing, looked at every 200 samples.

    Settled: the same ten superpixels with the same signs three looks in a row, and ten samples per superpixel.
    """

    EVERY, TOP, LOOKS = 200, 10, 3

    def __init__(self, label: int | None):
        self.label, self.next, self.before, self.same = label, self.EVERY, None, 0

    def __call__(self, switches: np.ndarray, answers: np.ndarray) -> bool:
        """Take the samples so far; True once settled. A class that does not exist is refused at the first look."""
        label = _checked_label(self.label, answers[0])
        if len(answers) < self.next:
            return False
        self.next += self.EVERY
        weights = fit_surrogate(switches, answers[:, [label]]).weights[0]
        now = {(int(i), weights[i] > 0) for i in ranking(weights)[: self.TOP]}
        self.same = self.same + 1 if now == self.before else 0
        self.before = now
        return self.same >= self.LOOKS - 1 and len(answers) >= PER_SEGMENT * switches.shape[1]


def check_image(image: np.ndarray) -> None:
    """Refuse anything but uint8 (h, w, 3), saying what came."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        came = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"The image is {came}, expected uint8 (height, width, 3) in RGB; decode it with read_upload.")


def checked_probabilities(answer: np.ndarray, rows: int) -> np.ndarray:
    """A model's answer as (rows, k); one column p, a lone sigmoid, becomes [1 - p, p]."""
    answer = np.asarray(answer)
    if answer.ndim == 1:
        answer = answer[:, None]
    if answer.ndim != 2 or len(answer) != rows:
        raise InputError(
            f"The model answered with shape {answer.shape} for {rows} images, expected ({rows}, number of classes)."
        )
    if not np.isfinite(answer).all():
        raise InputError("The model answered with NaN or infinity; its weights are damaged or its input is not 0..255.")
    return np.concatenate([1 - answer, answer], axis=1) if answer.shape[1] == 1 else answer


def _checked_label(label: int | None, prediction: np.ndarray) -> int:
    if label is None:
        return int(prediction.argmax())
    if not 0 <= label < len(prediction):
        raise InputError(f"Class number {label} was asked for, expected 0 to {len(prediction) - 1}.")
    return int(label)
