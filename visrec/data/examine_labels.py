"""What may be wrong with the labels as a whole: other spellings, rare classes, small cells, splits that differ, a class
that is almost only in one group."""

import math
from collections.abc import Sequence

import pandas as pd

from visrec.data.decisions import CHOICES, FEWEST
from visrec.data.problems import Problem, problem
from visrec.data.split import VAL_SHARE
from visrec.data.table import BucketTable

RARE = FEWEST["rare_class"]
MIN_CELL = 30  # images to judge a cell by
BATCH = 32
SMALL_VALUE = 20  # a group below this is too small to speak of confounding


def label_distribution_problems(table: BucketTable, target: str | None, by: Sequence[str]) -> list[Problem]:
    """Problems of the distribution of labels over classes, groups and splits."""
    if target is None or target not in table.samples:
        return []
    samples = table.samples[table.samples[target].notna()]
    by = [name for name in by if name in samples and name != target]
    return [
        *_missing_values(table, target, by),
        *_rare(samples, target),
        *_few(samples),
        *_small_cells(samples, by),
        *_confounded(samples, target, by),
        *_unlike_splits(samples, target),
    ]


def _missing_values(table: BucketTable, target: str, by: Sequence[str]) -> list[Problem]:
    found = []
    for column, what in ((target, "missing_label"), *((name, "missing_attribute") for name in by)):
        files = table.samples["file"][table.samples[column].isna()]
        if len(files):
            advice = f"{column} is not known of these images; " + (
                "they are left out." if column == target else "they are in no group of it."
            )
            found.append(problem(what, "warning", files, advice))
    return found


def _rare(samples: pd.DataFrame, target: str) -> list[Problem]:
    counts = samples[target].value_counts()
    found = []
    single = counts[counts < 2]
    if len(single):
        advice = f"Values of {target} with a single image can be trained or judged, never both. Decide: keep, or drop."
        found.append(problem("single_image_class", "error", _counted(single), advice, CHOICES["single_image_class"]))
    rare = counts[(counts < RARE) & (counts >= 2)]
    if len(rare):
        advice = f"Fewer than {RARE} images each: expect poor recognition. Gather more, or merge them with others."
        found.append(problem("rare_class", "warning", _counted(rare), advice, CHOICES["rare_class"]))
    return found


def _few(samples: pd.DataFrame) -> list[Problem]:
    training = int(samples["split"].isin(["train", ""]).sum())
    if training >= BATCH:
        return []
    advice = f"Fewer training images than one batch of {BATCH}; a training would learn them by heart."
    return [Problem("too_few_images", "error", training, [f"{training} training images"], advice)]


def _small_cells(samples: pd.DataFrame, by: Sequence[str]) -> list[Problem]:
    if not by:
        return []
    judged = samples[samples["split"] == "test"]
    judged = judged if len(judged) else samples[samples["split"] == "val"]
    share, drawn = (1.0, "") if len(judged) else (VAL_SHARE, f" when {VAL_SHARE:.0%} are drawn for it")
    found = []
    for name in by:
        counts = (share * (judged if len(judged) else samples)[name].value_counts()).round().astype(int)
        small = counts[counts < MIN_CELL]
        if len(small):
            advice = (
                f"Fewer than {MIN_CELL} images to judge these groups by{drawn}; an audit will say 'too few images'."
            )
            found.append(problem("small_cell", "info", [f"{name}: {line}" for line in _counted(small)], advice))
    return found


def _confounded(samples: pd.DataFrame, target: str, by: Sequence[str]) -> list[Problem]:
    """A class nine tenths of which are in one group that is less than half of all images."""
    found = []
    for name in by:
        table = pd.crosstab(samples[target], samples[name])
        share, whole = table.div(table.sum(axis=1), axis=0), table.sum() / table.to_numpy().sum()
        lines = [
            f"{target} {label}: {share.at[label, group]:.0%} are {name} {group}, of all images {whole[group]:.0%}"
            for label in table.index
            for group in [share.loc[label].idxmax()]
            if table.loc[label].sum() >= SMALL_VALUE and share.at[label, group] >= 0.9 and whole[group] < 0.6
        ]
        if lines:
            advice = f"A class that is almost only in one group: a model may learn {name} instead of {target}."
            found.append(problem("confounding", "warning", lines, advice))
    return found


def _unlike_splits(samples: pd.DataFrame, target: str) -> list[Problem]:
    """Classes whose share differs between train and a judging split by more than chance and 5 points."""
    train = samples[samples["split"] == "train"]
    lines = []
    for split in ("val", "test"):
        other = samples[samples["split"] == split]
        if len(train) < RARE or len(other) < RARE:
            continue
        p = train[target].value_counts(normalize=True)
        q = other[target].value_counts(normalize=True)
        for label in sorted(set(p.index) | set(q.index)):
            a, b = p.get(label, 0.0), q.get(label, 0.0)
            pooled = (a * len(train) + b * len(other)) / (len(train) + len(other))
            error = math.sqrt(pooled * (1 - pooled) * (1 / len(train) + 1 / len(other)))
            if abs(a - b) > max(0.05, 4 * error):
                lines.append(f"{label}: {a:.0%} of train, {b:.0%} of {split}")
    if not lines:
        return []
    advice = "The splits hold the classes in different proportions; accuracy on one says less of the other."
    return [problem("unlike_splits", "warning", lines, advice)]


def _counted(counts: pd.Series) -> list[str]:
    return [f"{name} ({count:,})" for name, count in counts.items()]
