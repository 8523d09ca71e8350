"""The class-folder layout: one folder per class, with or without ``train/``, ``val/`` and ``test/`` above.

The class of an image is the name of the folder below the split (or below the root); deeper folders belong to it.
"""

from collections.abc import Collection, Iterable

import pandas as pd

from visrec.data.problems import problem
from visrec.data.table import SPLITS, BucketTable, Source, label_problems


def detect(source: Source) -> bool:
    """Whether images lie in at least one folder."""
    return any("/" in key for key in source.images)


def read(source: Source) -> BucketTable:
    """Read labels and splits from the paths."""
    # an object store may hold "train//cat/1.jpg"; a folder without a name is no class
    paths = {key: "/".join(filter(None, key.split("/"))) for key in source.images}
    # everything in one folder: the data set was packed with its own name around it
    wrapping = _wrapping(paths.values())
    paths = {key: path.removeprefix(wrapping) for key, path in paths.items()}
    splits = _split_folders(paths.values())
    rows, unlabelled = [], []
    for key, path in paths.items():
        parts = path.split("/")
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


def _wrapping(keys: Collection[str]) -> str:
    """The folder that holds every image and nothing but folders of images, with its ``/``; "" if there is none."""
    prefix = ""
    while True:
        rest = [key.removeprefix(prefix) for key in keys]
        tops = {key.partition("/")[0] for key in rest}
        if len(tops) != 1 or any(key.count("/") < 2 for key in rest) or next(iter(tops)).lower() in SPLITS:
            return prefix
        prefix += tops.pop() + "/"


def _split_folders(paths: Iterable[str]) -> set[str]:
    """Top folders that name a split and hold folders of their own; a class called "test" beside others is a class."""
    return {path.split("/", 1)[0] for path in paths if path.count("/") >= 2 and path.split("/", 1)[0].lower() in SPLITS}


def _without_training_images(samples: pd.DataFrame) -> list:
    if not (samples["split"] == "train").any():
        return []
    trained = set(samples["label"][samples["split"].isin(["train", ""])])
    lost = sorted(set(samples["label"]) - trained)
    if not lost:
        return []
    advice = "These classes have images to validate or test on and none to train on; a model can never answer them."
    return [problem("class_without_training", "error", lost, advice)]
