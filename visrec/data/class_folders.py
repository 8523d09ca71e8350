"""The class-folder layout: one folder per class, with or without ``train/``, ``val/`` and ``test/`` above.

The class of an image is the name of the folder below the split (or below the root); deeper folders belong to it.
"""

import pandas as pd

from visrec.data.problems import problem
from visrec.data.table import SPLITS, BucketTable, Source, label_problems


def detect(source: Source) -> bool:
    """Whether images lie in at least one folder."""
    return any("/" in key for key in source.images)


def read(source: Source) -> BucketTable:
    """Read labels and splits from the paths."""
    split_tops = {top for top in {key.split("/", 1)[0] for key in source.images if "/" in key} if top.lower() in SPLITS}
    # a class called "test" beside other classes is a class: tops are splits only if they hold folders of their own
    nested = {key.split("/", 1)[0] for key in source.images if key.count("/") >= 2}
    splits = split_tops & nested
    rows, unlabelled = [], []
    for key in source.images:
        parts = key.split("/")
        split = SPLITS[parts.pop(0).lower()] if parts[0] in splits else ""
        if len(parts) < 2:
            unlabelled.append(key)
        else:
            rows.append((key, split, parts[0]))
    samples = pd.DataFrame(rows, columns=["file", "split", "label"]).astype("str")
    problems = label_problems(source, samples, [], unlabelled)
    problems += _without_training_images(samples)
    targets = ["label"] if samples["label"].nunique() > 1 else []
    return BucketTable("class_folders", samples, targets, ["label"], {"target": "label", "by": []}, problems)


def _without_training_images(samples: pd.DataFrame) -> list:
    if not (samples["split"] == "train").any():
        return []
    trained = set(samples["label"][samples["split"].isin(["train", ""])])
    lost = sorted(set(samples["label"]) - trained)
    if not lost:
        return []
    advice = "These classes have images to validate or test on and none to train on; a model can never answer them."
    return [problem("class_without_training", "error", lost, advice)]
