"""The COCO layout: JSON with ``images``, ``annotations`` and ``categories``; an image is labelled by what it shows.

An image with things of several categories has no single answer; the rule of ``multiple_labels`` decides, as in Cloud
Annotations. The split is read from the file's name (``instances_train2017.json``).
"""

import json
import re

import pandas as pd

from visrec.data.cloud_annotations import MULTIPLE, one_label, several_labels_problem
from visrec.data.table import SPLITS, BucketTable, Source, label_problems, match_files, repeated_problem
from visrec.errors import InputError

KEYS = {"images", "annotations", "categories"}
LARGEST = 500_000_000


def detect(source: Source) -> bool:
    """Whether a JSON near the root has COCO's three keys."""
    return bool(documents(source))


def documents(source: Source) -> dict[str, dict]:
    """Key -> parsed document, for each JSON that is COCO's."""
    found = {}
    for key, info in source.objects.items():
        if not key.lower().endswith(".json") or key.count("/") > 2 or info.size > LARGEST:
            continue
        data = source.store.read(key)
        if all(f'"{name}"'.encode() in data for name in KEYS):
            try:
                document = json.loads(data)
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise InputError(f"'{key}' is not valid JSON ({error}); expected COCO annotations.") from error
            if isinstance(document, dict) and KEYS <= set(document):
                found[key] = document
    return found


def read(source: Source) -> BucketTable:
    """Read every COCO document of the bucket."""
    rule = source.decision("multiple_labels", MULTIPLE)
    splits: dict[str, str] = {}
    labels: dict[str, list[str]] = {}
    missing, repeated = [], []
    for key, document in documents(source).items():
        names, of_images = _labels(document, key)
        files = pd.Series(list(names.values()), dtype="str")
        keys = match_files(files, source.images, key.rpartition("/")[0] + "/" if "/" in key else "")
        missing += [f"{name} ({key})" for name, found in zip(files, keys, strict=True) if found != found]
        for number, found in zip(names, keys, strict=True):
            of_image = of_images.get(number, [])
            if found != found or not of_image:
                continue
            # documents speak of the same image together: two with a label each are an image of two labels
            said = labels.setdefault(found, [])
            splits.setdefault(found, _split(key))
            if said and set(of_image) <= set(said):
                repeated.append(found)
            said += [label for label in of_image if label not in said]
    rows = [(file, splits[file], one_label(said, rule)) for file, said in labels.items()]
    samples = pd.DataFrame([row for row in rows if row[2] is not None], columns=["file", "split", "label"])
    samples = samples.astype("str")
    problems = [repeated_problem(repeated)] if repeated else []
    unlabelled = sorted(set(source.images) - set(labels))
    problems += [*label_problems(source, samples, missing, unlabelled), *several_labels_problem(labels, rule)]
    targets = ["label"] if samples["label"].nunique() > 1 else []
    return BucketTable("coco", samples, targets, ["label"], {"target": "label", "by": []}, problems)


def _labels(document: dict, key: str) -> tuple[dict, dict]:
    """image id -> file name, and image id -> its different category names in order."""
    try:
        names = {image["id"]: str(image["file_name"]) for image in document["images"]}
        categories = {category["id"]: str(category["name"]) for category in document["categories"]}
        labels: dict = {}
        for annotation in document["annotations"]:
            of_image = labels.setdefault(annotation["image_id"], [])
            label = categories[annotation["category_id"]]
            if label not in of_image:
                of_image.append(label)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"'{key}' looks like COCO annotations and lacks {error}; expected images with id and file_name, categories "
            "with id and name, annotations with image_id and category_id that exist."
        ) from error
    return names, labels


def _split(key: str) -> str:
    words = re.findall("[a-z]+", key.lower())
    return next((SPLITS[word] for word in reversed(words) if word in SPLITS), "")
