"""The Cloud Annotations layout, version 1: ``_annotations.json`` at the root names labels for object keys.

The file has four keys (version, type, labels, annotations) and says nothing of unlabelled images: those are in the
listing only. An image with several different labels has no single right answer; unless decided otherwise it is set
aside and named.
"""

import json

import pandas as pd

from visrec.data.problems import Problem, problem
from visrec.data.table import BucketTable, Source, label_problems
from visrec.errors import InputError

ANNOTATIONS = "_annotations.json"
MULTIPLE = ["set_aside", "first", "combine"]
BOXES = ["as_labels", "leave_out"]


def detect(source: Source) -> bool:
    """Whether ``_annotations.json`` lies at the root."""
    return ANNOTATIONS in source.objects


def read(source: Source) -> BucketTable:
    """Read the annotations; see the module for the rules."""
    document = parse(source.store.read(ANNOTATIONS))
    boxes = source.decision("localization", BOXES)
    names = {key: _labels(entries, boxes) for key, entries in document["annotations"].items()}
    rule = source.decision("multiple_labels", MULTIPLE)
    known = set(source.objects)
    rows = {key: one_label(labels, rule) for key, labels in names.items() if key in known}
    rows = {key: label for key, label in sorted(rows.items()) if label is not None}
    samples = pd.DataFrame({"file": list(rows), "split": "", "label": list(rows.values())}).astype("str")
    dangling = sorted(key for key, labels in names.items() if labels and key not in known)
    labelled = {key for key, labels in names.items() if labels}
    unlabelled = sorted(set(source.images) - labelled)
    problems = [
        *label_problems(source, samples, dangling, unlabelled),
        *_label_list(document, names),
        *several_labels_problem({key: labels for key, labels in names.items() if key in known}, rule),
        *_boxes(document, boxes),
    ]
    targets = ["label"] if samples["label"].nunique() > 1 else []
    return BucketTable("cloud_annotations", samples, targets, ["label"], {"target": "label", "by": []}, problems)


def parse(data: bytes) -> dict:
    """The document, checked to be version 1.

    Raises
    ------
    InputError
        Not JSON; not an object; experimental version 2 (with how to get version 1).
    """
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{ANNOTATIONS} is not valid JSON ({error}); export the project again.") from error
    if not isinstance(document, dict):
        raise InputError(f"{ANNOTATIONS} holds a {type(document).__name__}; expected an object with 'annotations'.")
    annotations = document.get("annotations")
    if str(document.get("version", "1.0")).startswith("2") or not isinstance(annotations, dict) or "images" in document:
        raise InputError(
            f"{ANNOTATIONS} is not Cloud Annotations version 1 (version {document.get('version', 'missing')!r}, keys "
            f"{', '.join(map(str, document)) or 'none'}); expected 'version', 'type', 'labels' and 'annotations' "
            "{object name: [{label}]}. Export the project as version 1: `cacli export`, or File > Export in the editor."
        )
    return document


def _labels(entries, boxes: str = BOXES[0]) -> list[str]:
    """The different labels of one image, in order; those of boxes only if they are to count as labels of the image."""
    if not isinstance(entries, list):
        entries = [entries]
    entries = [entry for entry in entries if isinstance(entry, dict) and (boxes == BOXES[0] or not _is_box(entry))]
    labels = [entry.get("label") for entry in entries]
    return list(dict.fromkeys(str(label) for label in labels if label is not None and str(label).strip()))


def one_label(labels: list[str], rule: str) -> str | None:
    """The label of an image with these different labels under a rule; None where it has none or is set aside."""
    if len(labels) <= 1 or rule == "first":
        return labels[0] if labels else None
    return " + ".join(sorted(labels)) if rule == "combine" else None


def _label_list(document: dict, names: dict[str, list[str]]) -> list[Problem]:
    listed = [str(label) for label in document.get("labels") or []]
    used = {label for labels in names.values() for label in labels}
    found = []
    if empty := [label for label in listed if label not in used]:
        advice = "These labels are listed and no image has them; they will not be classes."
        found.append(problem("label_without_images", "warning", empty, advice))
    if unlisted := sorted(used - set(listed)):
        advice = "Images carry these labels although the list of labels does not have them; they are used all the same."
        found.append(problem("label_not_listed", "info", unlisted, advice))
    if "Negative" in used:
        advice = "'Negative' marks images that show none of the labels; it is kept as a class of its own."
        found.append(problem("negative_label", "info", ["Negative"], advice))
    return found


def several_labels_problem(names: dict[str, list[str]], rule: str) -> list[Problem]:
    """Images with several different labels, and what the rule makes of them."""
    several = [f"{key}: {', '.join(labels)}" for key, labels in sorted(names.items()) if len(labels) > 1]
    if not several:
        return []
    what = {
        "set_aside": "they are set aside",
        "first": "the first label counts",
        "combine": "the combination counts as a class of its own",
    }[rule]
    advice = f"These images have several labels, and one is needed: {what}. Decide: set_aside, first or combine."
    return [problem("multiple_labels", "warning", several, advice, MULTIPLE)]


def _is_box(entry: dict) -> bool:
    return "x" in entry and "x2" in entry


def _boxes(document: dict, rule: str) -> list[Problem]:
    entries = [e for v in document["annotations"].values() if isinstance(v, list) for e in v if isinstance(e, dict)]
    boxes = sum(1 for entry in entries if _is_box(entry))
    if not boxes:
        return []
    what = "an image is labelled by what its boxes show" if rule == BOXES[0] else "they label no image"
    advice = f"The labels are boxes (localization); {what}. Decide: as_labels or leave_out."
    return [Problem("localization", "info", boxes, [f"{boxes:,} boxes"], advice, BOXES)]
