"""Calibrated confidence: of the images that a model is this sure of, how many does it get right?

A network's top probability is usually too high. One number, the *temperature*, is fitted on the ``tune`` rows and
softens all probabilities alike; the order of the classes never changes. Beside it stands what was observed: the share
of right answers, with its interval, among held-out images of like confidence.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from visrec.audit.splits import judged_split

LEAST_ROWS = 100
"""Below so many tune rows a temperature is more noise than help."""
LIKE = 200
"""How many held-out images of nearest confidence are counted at most."""
WINDOW = 0.05
"""How far a confidence may lie from another to be like it: together a tenth, as wide as a bin of a reliability diagram;
farther away calibration itself may be another."""
LEAST_LIKE = 30
"""Fewer held-out images tell next to nothing: their 95 % interval is a third of the scale wide."""


@dataclass(frozen=True)
class Calibration:
    """How to soften probabilities, and what was observed at each confidence.

    Attributes
    ----------
    temperature : 1 = the model is as sure as it should be, larger = it was too sure; NaN = unknown
    rows : tune rows it was fitted on
    confidence, correct : of the held-out rows (val or test), calibrated and sorted by confidence: float64, bool (m,)
    reason : why the temperature is unknown, else empty
    """

    temperature: float
    rows: int
    confidence: np.ndarray
    correct: np.ndarray
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a temperature."""
        return not np.isnan(self.temperature)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 (..., k); unchanged where the temperature is unknown."""
        return soften(probabilities, self.temperature if self.known else 1.0)

    def observed(self, confidence: float) -> dict[str, float]:
        """Of the held-out images of like calibrated confidence (within `WINDOW`), the share that was answered rightly.

        Returns
        -------
        dict
            value, low, high (Wilson, 95 %) as fractions, NaN with fewer than `LEAST_LIKE` images; n, how many of them;
            and from, to: the confidences that were counted, NaN without any.
        """
        from visrec.audit.intervals import wilson

        away = np.abs(self.confidence - confidence)
        nearest = np.argsort(away, kind="stable")[: min(LIKE, int((away <= WINDOW).sum()))]
        n, counted, unknown = len(nearest), self.confidence[nearest], float("nan")
        ends = {"n": n, "from": float(counted.min()) if n else unknown, "to": float(counted.max()) if n else unknown}
        if n < LEAST_LIKE:
            return {"value": unknown, "low": unknown, "high": unknown, **ends}
        right = int(self.correct[nearest].sum())
        low, high = wilson([right], [n])
        return {"value": right / n, "low": float(low[0]), "high": float(high[0]), **ends}


def calibrate(predictions: pd.DataFrame, labels: list[str]) -> Calibration:
    """Fit the temperature on tune rows and look at held-out rows.

    Parameters
    ----------
    predictions : the predictions table of a run: split, label, ``score:<class>``
    labels : classes in the order of the model's outputs

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), https://arxiv.org/abs/1706.04599. One temperature for everybody: it may suit
    one group and not another; the fairness pages show calibration by group.
    """
    columns = [f"score:{label}" for label in labels]
    missing = [c for c in columns if c not in predictions]
    if missing:
        return _unknown(f"the predictions have no column '{missing[0]}'")
    tune = predictions[predictions["split"] == "tune"]
    held = predictions[predictions["split"] == judged_split(predictions["split"])]
    scores, truth = held[columns].to_numpy(np.float64), _codes(held, labels)
    if len(tune) < LEAST_ROWS:
        temperature, reason = float("nan"), f"{len(tune)} tune images, at least {LEAST_ROWS} are needed"
    else:
        temperature, reason = fit_temperature(tune[columns].to_numpy(np.float64), _codes(tune, labels)), ""
    softened = soften(scores, 1.0 if reason else temperature)
    confidence, correct = softened.max(axis=1, initial=0), softened.argmax(axis=1) == truth if len(held) else []
    correct = np.asarray(correct, bool)
    order = np.argsort(confidence, kind="stable")
    return Calibration(temperature, len(tune), confidence[order], correct[order], reason)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature with the least mean log loss, between 0.05 and 20.

    Parameters
    ----------
    probabilities : float (n, k)
    truth : int (n,), the right class
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        softened = soften(probabilities, np.exp(log_temperature))
        return -float(np.log(np.maximum(softened[np.arange(len(truth)), truth], 1e-300)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of the same logits divided by a temperature: float64 (..., k), rows sum to 1.

    >>> soften(np.array([0.9, 0.1]), 2.0).round(2).tolist()
    [0.75, 0.25]
    """
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _codes(rows: pd.DataFrame, labels: list[str]) -> np.ndarray:
    places = {label: i for i, label in enumerate(labels)}
    return np.array([places.get(str(v), -1) for v in rows["label"]], int)


def _unknown(reason: str) -> Calibration:
    return Calibration(float("nan"), 0, np.zeros(0), np.zeros(0, bool), reason)
