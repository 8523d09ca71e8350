"""AIF360 itself, run on counted cells as weighted rows.

AIF360 honours `instance_weights` in all but its entropy family, so that a few hundred counted cells give the same
values as a million rows, in milliseconds. It is imported here only, when first needed, with TensorFlow hidden (which
it would load for one algorithm that no audit uses), and its module-level memory is emptied after every use.
"""

import contextlib
import functools
import importlib.abc
import logging
import sys
import threading
import types

import numpy as np

from visrec.audit.formulas import COMPARED, GENERALIZED, GROUP_RATES
from visrec.errors import MissingPackageError

NUMBERS = (
    "num_instances", "num_positives", "num_negatives", "num_pred_positives", "num_pred_negatives",
    "num_true_positives", "num_false_positives", "num_true_negatives", "num_false_negatives",
)  # fmt: skip
GENERALIZED_NUMBERS = (
    "num_generalized_true_positives", "num_generalized_false_positives",
    "num_generalized_true_negatives", "num_generalized_false_negatives",
)  # fmt: skip
COMPOSED = (
    "average_odds_difference", "average_abs_odds_difference", "average_predictive_value_difference",
    "equalized_odds_difference",
)  # fmt: skip
COMPARISONS = (
    *(name for name in COMPARED if not name.startswith("labels_")),
    *COMPOSED,
    "mean_difference",
    "equal_opportunity_difference",
)
MOST_EDF_CELLS = 40
"""AIF360 compares all pairs of cells one by one in Python; beyond so many our closed form gives the same value."""

DIFFERENTIAL = (
    "smoothed_empirical_differential_fairness",
    "labels_smoothed_empirical_differential_fairness",
    "differential_fairness_bias_amplification",
)
ENTROPY = tuple(
    f"{scope}{name}"
    for scope in ("", "between_group_", "between_all_groups_")
    for name in ("generalized_entropy_index", "theil_index", "coefficient_of_variation")
)
LEFT_OUT = {
    "consistency": "compares an image with its nearest neighbours in feature space; predictions have no features",
    "rich_subgroup": "fits a regression over rows; the subset scan answers the same question on counts",
    "binary_confusion_matrix": "not a number: shown as num_true_positives and its siblings",
    "generalized_binary_confusion_matrix": "not a number: shown as num_generalized_true_positives and its siblings",
    "performance_measures": "not a number: each of its rates is shown",
}
"""AIF360's public metrics that are not shown, and why."""

_LOCK = threading.RLock()


def library() -> types.SimpleNamespace:
    """AIF360's classes, imported on first use without TensorFlow.

    Raises
    ------
    MissingPackageError
        If aif360 is not installed.
    """
    with _LOCK:
        return _imported()


@functools.cache
def _imported() -> types.SimpleNamespace:
    with _Hidden("tensorflow"), _quiet():
        try:
            from aif360.datasets import BinaryLabelDataset
            from aif360.metrics import BinaryLabelDatasetMetric, ClassificationMetric
        except ImportError as error:
            raise MissingPackageError(
                f"AIF360 cannot be imported ({error}). Install it with `pip install -r requirements.txt`; "
                "rates, gaps and verdicts work without it."
            ) from None
        return types.SimpleNamespace(
            BinaryLabelDataset=BinaryLabelDataset,
            BinaryLabelDatasetMetric=BinaryLabelDatasetMetric,
            ClassificationMetric=ClassificationMetric,
        )


def split_metrics(
    codes: np.ndarray,
    privileged: np.ndarray,
    counts: np.ndarray,
    score_sums: np.ndarray | None = None,
) -> dict[str, dict[str, float]]:
    """Every scalar metric that honours weights, for one split, by AIF360 itself.

    Parameters
    ----------
    codes : int, shape (cells, d)
        Attribute codes of each cell, d >= 1.
    privileged : bool, shape (cells,)
    counts : int, shape (cells, 4) as TN, FP, FN, TP
    score_sums : float, shape (cells, 4), sum of the outcome's score over those rows, or None

    Returns
    -------
    dict: metric -> {"value", and "unprivileged", "privileged" where AIF360 gives a value per group}
        As AIF360 says it, its 0 and 1 for empty groups included; see `visrec.audit.aif360_table` for the masking.
    """
    with _LOCK, np.errstate(all="ignore"):
        metric = _metric(codes, privileged, counts, score_sums)
        try:
            return _values(
                metric,
                _of_predictions(metric),
                both=privileged.any() and not privileged.all(),
                scored=score_sums is not None,
            )
        finally:
            forget()


def compared_metrics(pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Only the comparisons, of many pairs of groups, by AIF360 itself.

    Parameters
    ----------
    pairs : int, shape (m, 2, 4), of each pair the unprivileged and the privileged group as TN, FP, FN, TP

    Returns
    -------
    dict: metric -> float64 (m,), as AIF360 says it; see `split_metrics`
    """
    values = np.empty((len(COMPARISONS), len(pairs)))
    with _LOCK, np.errstate(all="ignore"):
        # one dataset of eight rows, weighed anew for each pair: to build it takes longer than to ask it
        metric = _metric(np.array([[0], [1]]), np.array([False, True]), np.ones((2, 4), dtype=np.int64), None)
        for i, pair in enumerate(pairs):
            metric.dataset.instance_weights = metric.classified_dataset.instance_weights = pair.ravel().astype(float)
            try:
                values[:, i] = [getattr(metric, name)() for name in COMPARISONS]
            finally:
                forget()
    return dict(zip(COMPARISONS, values, strict=True))


def forget() -> None:
    """Empty AIF360's memory of metric values, which otherwise lives and grows as long as the process."""
    for cache in _memories():
        cache.clear()


def remembered() -> int:
    """Number of values AIF360 holds in memory."""
    return sum(len(cache) for cache in _memories())


@functools.cache
def _memories() -> tuple[dict, ...]:
    found = library()
    classes = {*found.BinaryLabelDatasetMetric.__mro__, *found.ClassificationMetric.__mro__}
    functions = [function for owner in classes for function in vars(owner).values()]
    codes = [(function, getattr(function, "__code__", None)) for function in functions]
    return tuple(
        function.__closure__[code.co_freevars.index("cache")].cell_contents
        for function, code in codes
        if code is not None and "cache" in code.co_freevars
    )


def _metric(codes, privileged, counts, score_sums):
    """A ClassificationMetric on weighted cells."""
    import pandas as pd

    found = library()
    depth = codes.shape[1]
    names = [f"a{i}" for i in range(depth)]
    place, kind = np.nonzero(counts)
    frame = pd.DataFrame(codes[place].astype(float), columns=names)
    label, prediction = (kind >= 2).astype(float), (kind % 2).astype(float)
    truth = found.BinaryLabelDataset(
        df=frame.assign(label=label, weight=counts[place, kind].astype(float)),
        label_names=["label"],
        protected_attribute_names=names,
        instance_weights_name="weight",
    )
    answer = truth.copy(deepcopy=False)  # what differs is set anew, and nothing is changed in place
    answer.labels = prediction[:, None]
    scored = prediction if score_sums is None else score_sums[place, kind] / counts[place, kind]
    answer.scores = scored[:, None]
    groups = {
        "privileged_groups": _conditions(codes[privileged], names),
        "unprivileged_groups": _conditions(codes[~privileged], names),
    }
    return found.ClassificationMetric(truth, answer, **groups)


def _of_predictions(metric):
    """The BinaryLabelDatasetMetric of what was predicted, where a ClassificationMetric knows labels and predictions."""
    return library().BinaryLabelDatasetMetric(
        metric.classified_dataset,
        privileged_groups=metric.privileged_groups,
        unprivileged_groups=metric.unprivileged_groups,
    )


def _conditions(codes: np.ndarray, names: list[str]) -> list[dict]:
    """The groups as AIF360 wants them; a product of values is written as such only where it is one cell each."""
    return [dict(zip(names, map(float, row), strict=True)) for row in codes.tolist()]


PER_GROUP = (*GROUP_RATES, *NUMBERS, "power", "precision", "recall", "sensitivity", "specificity")


def _values(metric, predicted, both: bool, scored: bool) -> dict[str, dict[str, float]]:
    values = {}
    for name in (*PER_GROUP, *(GENERALIZED + GENERALIZED_NUMBERS if scored else ())):
        function = getattr(metric, name)
        values[name] = {"value": float(function())}
        if both:
            groups = {"unprivileged": False, "privileged": True}
            values[name] |= {group: float(function(privileged=which)) for group, which in groups.items()}
    if both:
        compared = (*COMPARISONS, *(("generalized_equalized_odds_difference",) if scored else ()))
        values |= {name: {"value": float(getattr(metric, name)())} for name in compared}
        of_labels = type(predicted)  # the labels' own metrics live in the base class
        for name in ("statistical_parity_difference", "disparate_impact"):
            values[f"labels_{name}"] = {"value": float(getattr(of_labels, name)(metric))}
        values["labels_mean_difference"] = dict(values["labels_statistical_parity_difference"])
    if 1 < len(np.unique(metric.dataset.protected_attributes, axis=0)) <= MOST_EDF_CELLS:
        found = (
            predicted.smoothed_empirical_differential_fairness(),
            metric.smoothed_empirical_differential_fairness(),
            metric.differential_fairness_bias_amplification(),
        )
        values |= {name: {"value": float(value)} for name, value in zip(DIFFERENTIAL, found, strict=True)}
    return values


class _Hidden(importlib.abc.MetaPathFinder):
    """Makes a library look absent to one thread for a moment; others may import it meanwhile."""

    def __init__(self, name: str):
        self.name, self.thread = name, threading.get_ident()

    def find_spec(self, fullname, path=None, target=None):
        """Refuse the hidden library, and nothing else."""
        if fullname.partition(".")[0] == self.name and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"{fullname} is hidden while AIF360 is imported", name=fullname)

    def __enter__(self):
        if self.name not in sys.modules:
            sys.meta_path.insert(0, self)

    def __exit__(self, *_):
        if self in sys.meta_path:
            sys.meta_path.remove(self)


@contextlib.contextmanager
def _quiet():
    """Keep AIF360's import from logging what it does without, and from configuring the root logger."""
    root, level = logging.getLogger(), logging.root.manager.disable
    silent = logging.NullHandler()
    root.addHandler(silent)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        root.removeHandler(silent)
