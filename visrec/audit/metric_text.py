"""What each figure means, in plain words: definition, source, ideal value, conventional band, one sentence.

A *band* is what a convention calls small (a difference within 0.1, a ratio between 0.8 and 1.25). It is shown beside
the figure and decides nothing: a verdict comes from counts, never from a band.
"""

import math
from dataclasses import dataclass

NONE = (math.nan, math.nan)
TENTH = (-0.1, 0.1)
FOUR_FIFTHS = (0.8, 1.25)
AIF360_SOURCE = "AI Fairness 360 (Bellamy et al. 2018, arXiv:1810.01943)"
ODDS = "Hardt, Price, Srebro 2016, arXiv:1610.02413"
ENTROPY = "Speicher et al. 2018, arXiv:1807.00787"
FOULDS = "Foulds et al. 2018, arXiv:1807.08362"


@dataclass(frozen=True)
class MetricText:
    """A figure in words.

    Attributes
    ----------
    title : short name for a heading
    definition : the formula in words and symbols
    source : where the formula is from
    ideal : value that means "all alike" or "perfect"; NaN where there is none
    band : conventional limits, NaN where there is no convention
    plain : one sentence for a reader without statistics
    kind : ``comparison`` (has a verdict), ``rate`` or ``count``
    """

    title: str
    definition: str
    source: str
    ideal: float
    band: tuple[float, float]
    plain: str
    kind: str = "comparison"


RATE_TEXT = {
    "accuracy": MetricText(
        "Accuracy", "(TP + TN) / n", AIF360_SOURCE, 1.0, NONE, "Of all images, how many are answered rightly.", "rate"
    ),
    "selection_rate": MetricText(
        "Selection rate",
        "(TP + FP) / n",
        AIF360_SOURCE,
        math.nan,
        NONE,
        "Of all images, how many get this answer, rightly or not.",
        "rate",
    ),
    "tpr": MetricText(
        "True positive rate",
        "TP / (TP + FN)",
        ODDS,
        1.0,
        NONE,
        "Of the images that are this class, how many are found.",
        "rate",
    ),
    "fpr": MetricText(
        "False positive rate",
        "FP / (FP + TN)",
        ODDS,
        0.0,
        NONE,
        "Of the images that are not this class, how many are taken for it.",
        "rate",
    ),
    "tnr": MetricText(
        "True negative rate",
        "TN / (FP + TN)",
        ODDS,
        1.0,
        NONE,
        "Of the images that are not this class, how many are left alone.",
        "rate",
    ),
    "fnr": MetricText(
        "False negative rate",
        "FN / (TP + FN)",
        ODDS,
        0.0,
        NONE,
        "Of the images that are this class, how many are missed.",
        "rate",
    ),
    "ppv": MetricText(
        "Positive predictive value",
        "TP / (TP + FP)",
        AIF360_SOURCE,
        1.0,
        NONE,
        "When the model says this class, how often it is right.",
        "rate",
    ),
    "npv": MetricText(
        "Negative predictive value",
        "TN / (TN + FN)",
        AIF360_SOURCE,
        1.0,
        NONE,
        "When the model says another class, how often it is right.",
        "rate",
    ),
    "fdr": MetricText(
        "False discovery rate",
        "FP / (TP + FP)",
        AIF360_SOURCE,
        0.0,
        NONE,
        "When the model says this class, how often it is wrong.",
        "rate",
    ),
    "for": MetricText(
        "False omission rate",
        "FN / (TN + FN)",
        AIF360_SOURCE,
        0.0,
        NONE,
        "When the model says another class, how often it is wrong.",
        "rate",
    ),
    "missing": MetricText(
        "Missing",
        "rows without a prediction / all rows",
        "visrec",
        0.0,
        NONE,
        "How often the model gave no answer at all; a face not found is a failure too.",
        "rate",
    ),
    "balanced_accuracy": MetricText(
        "Balanced accuracy",
        "(TPR + TNR) / 2; for `correct`, the mean recall over classes",
        "Brodersen et al. 2010, ICPR",
        1.0,
        NONE,
        "Accuracy as if every class were equally common.",
        "rate",
    ),
    "f1": MetricText(
        "F1",
        "2 TP / (2 TP + FP + FN); for `correct`, the mean over classes",
        "van Rijsbergen 1979",
        1.0,
        NONE,
        "One number for finding the class and being right about it.",
        "rate",
    ),
    "base_rate": MetricText(
        "Base rate",
        "(TP + FN) / n",
        AIF360_SOURCE,
        math.nan,
        NONE,
        "Of all images, how many are labelled so; says nothing about the model.",
        "rate",
    ),
}


def _difference(title: str, what: str, plain: str, source: str = AIF360_SOURCE) -> MetricText:
    return MetricText(title, f"{what}, unprivileged minus privileged", source, 0.0, TENTH, plain)


def _ratio(title: str, what: str, plain: str) -> MetricText:
    return MetricText(title, f"{what}, unprivileged divided by privileged", AIF360_SOURCE, 1.0, FOUR_FIFTHS, plain)


def _entropy(title: str, formula: str, whose: str) -> MetricText:
    plain = {
        "": "How unequally right and wrong answers fall on single images, whoever they show.",
        "between_group_": "How much of that inequality lies between the two groups.",
        "between_all_groups_": "How much of that inequality lies between all cells.",
    }[whose]
    return MetricText(title, formula, ENTROPY, 0.0, NONE, plain, "comparison" if whose else "rate")


AIF360_TEXT = {
    "statistical_parity_difference": _difference(
        "Statistical parity difference", "selection rate", "How much more often one group gets this answer."
    ),
    "mean_difference": _difference(
        "Mean difference", "selection rate", "Another name of the statistical parity difference."
    ),
    "disparate_impact": _ratio(
        "Disparate impact", "selection rate", "How many times as often one group gets this answer."
    ),
    "true_positive_rate_difference": _difference(
        "TPR difference", "true positive rate", "How much more often one group's true cases are found.", ODDS
    ),
    "equal_opportunity_difference": _difference(
        "Equal opportunity difference", "true positive rate", "Another name of the TPR difference.", ODDS
    ),
    "false_positive_rate_difference": _difference(
        "FPR difference", "false positive rate", "How much more often one group is wrongly taken for this class.", ODDS
    ),
    "false_negative_rate_difference": _difference(
        "FNR difference", "false negative rate", "How much more often one group's true cases are missed.", ODDS
    ),
    "false_omission_rate_difference": _difference(
        "FOR difference", "false omission rate", 'How much more often a "no" is wrong for one group.'
    ),
    "false_discovery_rate_difference": _difference(
        "FDR difference", "false discovery rate", 'How much more often a "yes" is wrong for one group.'
    ),
    "error_rate_difference": _difference(
        "Error rate difference", "error rate", "How much more often the model is wrong about one group."
    ),
    "false_positive_rate_ratio": _ratio(
        "FPR ratio", "false positive rate", "How many times as often one group is wrongly taken for this class."
    ),
    "false_negative_rate_ratio": _ratio(
        "FNR ratio", "false negative rate", "How many times as often one group's true cases are missed."
    ),
    "false_omission_rate_ratio": _ratio(
        "FOR ratio", "false omission rate", 'How many times as often a "no" is wrong for one group.'
    ),
    "false_discovery_rate_ratio": _ratio(
        "FDR ratio", "false discovery rate", 'How many times as often a "yes" is wrong for one group.'
    ),
    "error_rate_ratio": _ratio(
        "Error rate ratio", "error rate", "How many times as often the model is wrong about one group."
    ),
    "average_odds_difference": MetricText(
        "Average odds difference",
        "(FPR difference + TPR difference) / 2",
        ODDS,
        0.0,
        TENTH,
        "Both kinds of difference averaged; they can cancel to 0, so read the absolute version too.",
    ),
    "average_abs_odds_difference": MetricText(
        "Average absolute odds difference",
        "(|FPR difference| + |TPR difference|) / 2",
        ODDS,
        0.0,
        (0.0, 0.1),
        "Both kinds of difference averaged without cancelling.",
    ),
    "average_predictive_value_difference": MetricText(
        "Average predictive value difference",
        "(PPV difference + FOR difference) / 2",
        AIF360_SOURCE,
        0.0,
        TENTH,
        "How much an answer means something else for one group.",
    ),
    "equalized_odds_difference": MetricText(
        "Equalized odds difference",
        "max(|FPR difference|, |TPR difference|)",
        ODDS,
        0.0,
        (0.0, 0.1),
        "The larger of the two differences.",
    ),
    "generalized_equalized_odds_difference": MetricText(
        "Generalized equalized odds difference",
        "as equalized odds, each row counted by its score",
        "Pleiss et al. 2017, arXiv:1709.02012",
        0.0,
        (0.0, 0.1),
        "The larger difference when scores are compared instead of answers.",
    ),
    "labels_statistical_parity_difference": _difference(
        "Statistical parity difference of the labels",
        "base rate",
        "How much more often one group is *labelled* so; about the data, not the model.",
    ),
    "labels_mean_difference": _difference(
        "Mean difference of the labels", "base rate", "Another name of the labels' statistical parity difference."
    ),
    "labels_disparate_impact": _ratio(
        "Disparate impact of the labels", "base rate", "How many times as often one group is *labelled* so."
    ),
    "smoothed_empirical_differential_fairness": MetricText(
        "Differential fairness of the predictions",
        "largest |log ratio| of smoothed selection rates (and of their complements) over all pairs of cells",
        FOULDS,
        0.0,
        NONE,
        "The worst ratio between any two cells, on a log scale; above 0 by chance alone.",
    ),
    "labels_smoothed_empirical_differential_fairness": MetricText(
        "Differential fairness of the labels",
        "the same, of base rates",
        FOULDS,
        0.0,
        NONE,
        "The same of the labels; about the data, not the model.",
    ),
    "differential_fairness_bias_amplification": MetricText(
        "Bias amplification",
        "differential fairness of predictions minus that of labels",
        FOULDS,
        0.0,
        NONE,
        "Above 0, the model spreads the cells further apart than the labels do.",
    ),
}

for _scope, _who in (("", ""), ("between_group_", "Between-group "), ("between_all_groups_", "Between-cells ")):
    AIF360_TEXT |= {
        f"{_scope}generalized_entropy_index": _entropy(
            f"{_who}generalized entropy", "mean((b/mean b)^2 - 1) / 2, b = 1 + prediction - label", _scope
        ),
        f"{_scope}theil_index": _entropy(f"{_who}Theil index", "mean(b/mean b log(b/mean b))", _scope),
        f"{_scope}coefficient_of_variation": _entropy(
            f"{_who}coefficient of variation", "sqrt(2 generalized entropy)", _scope
        ),
    }


def aif360_text(name: str) -> MetricText:
    """The text of one of AIF360's metrics; per-group rates and counts share a pattern."""
    if name in AIF360_TEXT:
        return AIF360_TEXT[name]
    words = name.replace("_", " ").replace("num ", "number of ")
    if name.startswith("num_") or name == "power":
        return MetricText(words.capitalize(), words, AIF360_SOURCE, math.nan, NONE, "A count of rows.", "count")
    same = RATE_TEXT.get(_RATE_NAMES.get(name, ""))
    if same:
        return MetricText(words.capitalize(), same.definition, same.source, same.ideal, NONE, same.plain, "rate")
    plain = "Each row counted by its score instead of by its answer." if name.startswith("generalized") else words
    return MetricText(words.capitalize(), words, AIF360_SOURCE, math.nan, NONE, plain, "rate")


_RATE_NAMES = {
    "true_positive_rate": "tpr",
    "recall": "tpr",
    "sensitivity": "tpr",
    "false_positive_rate": "fpr",
    "true_negative_rate": "tnr",
    "specificity": "tnr",
    "false_negative_rate": "fnr",
    "positive_predictive_value": "ppv",
    "precision": "ppv",
    "negative_predictive_value": "npv",
    "false_discovery_rate": "fdr",
    "false_omission_rate": "for",
    "accuracy": "accuracy",
    "selection_rate": "selection_rate",
    "base_rate": "base_rate",
}

SHORT = {"tpr": "TPR", "fpr": "FPR", "tnr": "TNR", "fnr": "FNR", "ppv": "PPV", "npv": "NPV", "fdr": "FDR", "for": "FOR"}


def rate_name(rate: str) -> str:
    """A rate in running text.

    >>> rate_name("tpr"), rate_name("selection_rate")
    ('TPR', 'selection rate')
    """
    return SHORT.get(rate, rate.replace("_", " ") if rate != "f1" else "F1")


def gap_sentence(gap, by, min_count: int = 30) -> str:
    """What may honestly be said of one gap.

    ``gap`` is a row of the gap table, ``by`` the attributes of the table.

    >>> row = {"rate": "tpr", "value": 0.11, "null_high": 0.03, "verdict": "supported", "cells": 7}
    >>> gap_sentence(row, ["race"])
    'The gap in TPR by race is 0.11; chance alone would show up to 0.03 at these sizes: supported.'
    """
    where = " and ".join(by) if by else "cell"
    name = rate_name(gap["rate"])
    if gap["verdict"] == "too few images":
        return f"Fewer than two cells have {min_count} images that {name} by {where} rests on: too few images."
    value, chance = gap["value"], gap["null_high"]
    known = f"The gap in {name} by {where} is {_short(value)}; chance alone would show up to {_short(chance)}"
    if gap["verdict"] == "supported" and value <= chance:
        return (
            f"{known} at these sizes, the smallest included. Yet at least two cells are further apart than chance "
            "allows at their own sizes: supported."
        )
    if gap["verdict"] != "supported" and value > chance:
        return f"{known} at these sizes, but one such finding among so many rates may be chance: {gap['verdict']}."
    return f"{known} at these sizes: {gap['verdict']}."


def metric_sentence(row) -> str:
    """What may honestly be said of one row of the AIF360 table; empty for what compares nothing."""
    if row["verdict"] is None:
        return ""
    title = aif360_text(row["metric"]).title
    if row["verdict"] == "too few images" or math.isnan(row["value"]):
        return f"{title}: too few images to say."
    band = f"{_short(row['null_low'])} to {_short(row['null_high'])}"
    return f"{title} is {_short(row['value'])}; chance alone would show {band}: {row['verdict']}."


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}" if round(value, 2) != value else f"{value:.2f}"
