"""AIF360's group metrics as formulas on counts, for any number of tables at once.

A *split* puts every row into the unprivileged (0) or the privileged (1) group. AIF360's conventions: difference =
unprivileged - privileged, ratio = unprivileged / privileged. One call serves one table, all pairs of cells, or
thousands of bootstrap draws; the values equal AIF360's to 1e-9. Where AIF360 answers an empty group with 0 or 1,
these answer NaN: unknown.
"""

from collections.abc import Mapping

import numpy as np

from visrec.audit.cells import FN, FP, TN, TP
from visrec.audit.rates import ratio

GROUP_RATES = {
    "true_positive_rate": ((TP,), (TP, FN)),
    "false_positive_rate": ((FP,), (FP, TN)),
    "true_negative_rate": ((TN,), (FP, TN)),
    "false_negative_rate": ((FN,), (TP, FN)),
    "positive_predictive_value": ((TP,), (TP, FP)),
    "negative_predictive_value": ((TN,), (TN, FN)),
    "false_discovery_rate": ((FP,), (TP, FP)),
    "false_omission_rate": ((FN,), (TN, FN)),
    "accuracy": ((TN, TP), (TN, FP, FN, TP)),
    "error_rate": ((FP, FN), (TN, FP, FN, TP)),
    "selection_rate": ((FP, TP), (TN, FP, FN, TP)),
    "base_rate": ((FN, TP), (TN, FP, FN, TP)),
}
"""Numerator and denominator of each of AIF360's per-group rates, as places in TN, FP, FN, TP."""

GENERALIZED = (
    "generalized_true_positive_rate",
    "generalized_false_positive_rate",
    "generalized_true_negative_rate",
    "generalized_false_negative_rate",
)

COMPARED = {
    "true_positive_rate_difference": ("difference", "true_positive_rate"),
    "false_positive_rate_difference": ("difference", "false_positive_rate"),
    "false_negative_rate_difference": ("difference", "false_negative_rate"),
    "false_omission_rate_difference": ("difference", "false_omission_rate"),
    "false_discovery_rate_difference": ("difference", "false_discovery_rate"),
    "error_rate_difference": ("difference", "error_rate"),
    "statistical_parity_difference": ("difference", "selection_rate"),
    "false_positive_rate_ratio": ("ratio", "false_positive_rate"),
    "false_negative_rate_ratio": ("ratio", "false_negative_rate"),
    "false_omission_rate_ratio": ("ratio", "false_omission_rate"),
    "false_discovery_rate_ratio": ("ratio", "false_discovery_rate"),
    "error_rate_ratio": ("ratio", "error_rate"),
    "disparate_impact": ("ratio", "selection_rate"),
    "labels_statistical_parity_difference": ("difference", "base_rate"),
    "labels_disparate_impact": ("ratio", "base_rate"),
}
"""Comparisons of one rate between the two groups. ``labels_`` marks what is said of the labels, not the model."""

ALIASES = {
    "mean_difference": "statistical_parity_difference",
    "equal_opportunity_difference": "true_positive_rate_difference",
    "labels_mean_difference": "labels_statistical_parity_difference",
    "power": "num_true_positives",
    "precision": "positive_predictive_value",
    "recall": "true_positive_rate",
    "sensitivity": "true_positive_rate",
    "specificity": "true_negative_rate",
}


def group_rate(counts: np.ndarray, name: str) -> np.ndarray:
    """One per-group rate: counts (..., 4) to float64 (...); NaN where there is nothing to divide by."""
    top, base = GROUP_RATES[name]
    return ratio(counts[..., list(top)].sum(axis=-1), counts[..., list(base)].sum(axis=-1))


def comparisons(unprivileged: np.ndarray, privileged: np.ndarray) -> dict[str, np.ndarray]:
    """Every comparison of two groups that counts decide.

    Parameters
    ----------
    unprivileged, privileged : int, shape (..., 4) as TN, FP, FN, TP

    Returns
    -------
    dict of float64 (...), by AIF360's names
        Differences in -1..1, 0 = alike; ratios >= 0, 1 = alike, NaN where the privileged rate is 0.

    References
    ----------
    Bellamy et al. (2018), AI Fairness 360, arXiv:1810.01943; `aif360.metrics.ClassificationMetric` 0.6.1.
    """
    rates = {n: (group_rate(unprivileged, n), group_rate(privileged, n)) for n in GROUP_RATES}
    result = {name: compare(kind, *rates[rate]) for name, (kind, rate) in COMPARED.items()}
    tpr, fpr = result["true_positive_rate_difference"], result["false_positive_rate_difference"]
    ppv = compare("difference", *rates["positive_predictive_value"])
    result["average_odds_difference"] = (fpr + tpr) / 2
    result["average_abs_odds_difference"] = (np.abs(fpr) + np.abs(tpr)) / 2
    result["average_predictive_value_difference"] = (ppv + result["false_omission_rate_difference"]) / 2
    result["equalized_odds_difference"] = np.maximum(np.abs(fpr), np.abs(tpr))
    return result


def compare(kind: str, unprivileged: np.ndarray, privileged: np.ndarray) -> np.ndarray:
    """Difference or ratio of two rates; a ratio to 0 is NaN."""
    if kind == "difference":
        return unprivileged - privileged
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(privileged > 0, unprivileged / privileged, np.nan)


def generalized_rates(sums: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Rates in which a row counts by its score instead of by its answer.

    Parameters
    ----------
    sums : float, shape (..., 2), sum of the outcome's score over rows labelled [not outcome, outcome]
    counts : int, shape (..., 2), rows labelled so

    Returns
    -------
    dict of float64 (...) in 0..1; NaN without rows of that label
    """
    negative, positive = np.moveaxis(counts, -1, 0)
    on_negative, on_positive = np.moveaxis(sums, -1, 0)
    tpr, fpr = ratio(on_positive, positive), ratio(on_negative, negative)
    tnr, fnr = ratio(negative - on_negative, negative), ratio(positive - on_positive, positive)
    return dict(zip(GENERALIZED, (tpr, fpr, tnr, fnr), strict=True))


def smoothed_edf(selected: np.ndarray, n: np.ndarray, concentration: float = 1.0) -> np.ndarray:
    """Smoothed empirical differential fairness: the largest log ratio between any two cells, of either answer.

    Parameters
    ----------
    selected, n : shape (..., cells), favourable rows and all rows of each cell; cells without rows take no part
    concentration : of the Dirichlet smoothing; 1 adds half a row to each answer

    Returns
    -------
    float64 (...), 0 = every cell is treated alike; e to this power bounds the ratio. Always above 0 by chance.

    References
    ----------
    Foulds, Islam, Keya, Pan (2018), arXiv:1807.08362.

    Examples
    --------
    >>> float(smoothed_edf(np.array([5, 5]), np.array([10, 10])))
    0.0
    """
    selected, n = np.asarray(selected, dtype=float), np.asarray(n, dtype=float)
    share = (selected + concentration / 2) / (n + concentration)
    share = np.where(n > 0, share, np.nan)
    if share.shape[-1] < 2:
        return np.full(share.shape[:-1], np.nan)
    favourable, other = np.log(share), np.log1p(-share)
    return np.fmax(_spread(favourable), _spread(other))


def _spread(values: np.ndarray) -> np.ndarray:
    return np.fmax.reduce(values, axis=-1) - np.fmin.reduce(values, axis=-1)


def entropy_index(benefit: np.ndarray, weight: np.ndarray, alpha: int) -> np.ndarray:
    """Generalized entropy index of benefits, in closed form on counts.

    Parameters
    ----------
    benefit : float, shape (..., m), each row's benefit b >= 0
    weight : shape (..., m), how many rows have it
    alpha : 2 (half the squared coefficient of variation) or 1 (Theil)

    Returns
    -------
    float64 (...), >= 0; 0 = everyone benefits alike; NaN without rows or without any benefit

    References
    ----------
    Speicher et al. (2018), KDD, arXiv:1807.00787.
    """
    benefit, weight = np.asarray(benefit, dtype=float), np.asarray(weight, dtype=float)
    n = weight.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, (benefit * weight).sum(axis=-1) / n, np.nan)
        share = benefit / np.where(mean > 0, mean, np.nan)[..., None]
        terms = (
            np.where(share > 0, share * np.log(share), 0.0)
            if alpha == 1
            else (share**alpha - 1) / (alpha * (alpha - 1))
        )
        terms = np.where(np.isnan(share) & (weight > 0), np.nan, np.where(weight > 0, terms, 0.0))
        return (terms * weight).sum(axis=-1) / np.where(n > 0, n, np.nan)


def entropy_family(cells: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """AIF360's entropy metrics, whole and between groups.

    Parameters
    ----------
    cells : shape (..., cells, 4) as TN, FP, FN, TP; every intersection counted
    groups : shape (..., 2, 4), the same rows by [unprivileged, privileged]

    Returns
    -------
    dict of float64 (...), by AIF360's names; 0 = no inequality of the benefit b = 1 + prediction - label
    """
    result = {}
    total = cells.sum(axis=-2)
    benefits = np.array([1.0, 2.0, 0.0, 1.0])
    families: Mapping[str, tuple] = {
        "": (np.broadcast_to(benefits, total.shape), total),
        "between_group_": _group_benefits(groups),
        "between_all_groups_": _group_benefits(cells),
    }
    for prefix, (benefit, weight) in families.items():
        two = entropy_index(benefit, weight, 2)
        result[f"{prefix}generalized_entropy_index"] = two
        result[f"{prefix}theil_index"] = entropy_index(benefit, weight, 1)
        result[f"{prefix}coefficient_of_variation"] = np.sqrt(2 * np.maximum(two, 0))
    return result


def _group_benefits(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean benefit of each group, which every member is given, and the group's rows."""
    n = groups.sum(axis=-1)
    benefit = ratio(groups[..., TN] + 2 * groups[..., FP] + groups[..., TP], n)
    return np.nan_to_num(benefit), n
