"""Tests for visrec.data.cloud_annotations: the edge cases of real projects."""

import json

import pytest

from visrec.data.layouts import read_bucket
from visrec.errors import InputError
from visrec.storage.folder import FolderStore


def bucket(folder, annotations, images=None, **document):
    store = FolderStore(folder, create=True)
    for key in annotations if images is None else images:
        store.write(key, b"not looked at")
    whole = {"version": "1.0", "type": "classification", "labels": ["cat", "dog"], "annotations": annotations}
    whole = {k: v for k, v in {**whole, **document}.items() if v is not None}
    store.write("_annotations.json", json.dumps(whole).encode())
    return store


def read(store, **decisions):
    table = read_bucket(store, decisions=decisions)
    return dict(zip(table.samples["file"], table.samples["label"], strict=True)), {p.kind: p for p in table.problems}


CATS = {"a.jpg": [{"label": "cat"}], "b.jpg": [{"label": "dog", "id": "1"}]}


def test_entries_with_and_without_id_are_alike(tmp_path):
    """Real files mix them."""
    labels, problems = read(bucket(tmp_path, CATS))

    assert {"a.jpg": "cat", "b.jpg": "dog"} == labels
    assert {} == problems


def test_missing_type_is_no_fault(tmp_path):
    """Older projects have none."""
    assert 2 == len(read(bucket(tmp_path, CATS, type=None))[0])


def test_images_in_the_listing_only_are_unlabelled_whatever_their_ending(tmp_path):
    """The file says nothing of them; an empty entry says as little."""
    images = [*CATS, "c.JPG", "d.PnG", "e.jpeg"]
    labels, problems = read(bucket(tmp_path, {**CATS, "e.jpeg": []}, images))

    assert set(CATS) == set(labels)
    assert ["c.JPG", "d.PnG", "e.jpeg"] == problems["unlabelled"].examples


def test_entries_of_deleted_images_dangle(tmp_path):
    """Named, left out."""
    labels, problems = read(bucket(tmp_path, {**CATS, "gone.jpg": [{"label": "cat"}]}, list(CATS)))

    assert set(CATS) == set(labels)
    assert ["gone.jpg"] == problems["missing_file"].examples


SEVERAL = {**CATS, "two.jpg": [{"label": "dog"}, {"label": "cat"}, {"label": "dog"}]}


@pytest.mark.parametrize(("rule", "label"), [("set_aside", None), ("first", "dog"), ("combine", "cat + dog")])
def test_rule_for_several_labels_is_a_decision(tmp_path, rule, label):
    """An image never goes into several classes at once."""
    labels, problems = read(bucket(tmp_path, SEVERAL), multiple_labels=rule)

    assert labels.get("two.jpg") == label
    assert ["two.jpg: dog, cat"] == problems["multiple_labels"].examples
    assert rule in problems["multiple_labels"].choices


def test_unknown_decision_is_refused(tmp_path):
    """The sentence lists the choices."""
    with pytest.raises(InputError, match="set_aside, first, combine"):
        read(bucket(tmp_path, SEVERAL), multiple_labels="guess")


def test_same_label_twice_is_one_label(tmp_path):
    """Several boxes of one thing."""
    labels, problems = read(bucket(tmp_path, {**CATS, "c.jpg": [{"label": "cat"}, {"label": "cat"}]}))

    assert "cat" == labels["c.jpg"]
    assert "multiple_labels" not in problems


@pytest.mark.parametrize("label", ["../x", "a/b", "日本語", "two words", "Negative", "C:\\x"])
def test_any_text_is_a_label(tmp_path, label):
    """Labels are never used as paths."""
    labels, _ = read(bucket(tmp_path, {**CATS, "c.jpg": [{"label": label}]}, labels=["cat", "dog", label]))

    assert label == labels["c.jpg"]


def test_list_of_labels_is_compared_with_their_use(tmp_path):
    """Listed and never used; used and never listed; Negative."""
    annotations = {**CATS, "c.jpg": [{"label": "Negative"}]}
    _, problems = read(bucket(tmp_path, annotations, labels=["cat", "dog", "bird"]))

    assert ["bird"] == problems["label_without_images"].examples
    assert ["Negative"] == problems["label_not_listed"].examples
    assert "negative_label" in problems


def test_names_with_folders_spaces_and_unicode_are_keys(tmp_path):
    """Object names as they come."""
    keys = ["a/b c.jpg", "ü 1.png", "x+y.jpg"]
    annotations = {key: [{"label": "cd"[n % 2]}] for n, key in enumerate(keys)}
    labels, problems = read(bucket(tmp_path, annotations, labels=["c", "d"]))

    assert set(keys) == set(labels)
    assert {} == problems


def test_boxes_are_labels_of_their_image(tmp_path):
    """Localization: what the boxes show, and said so."""
    box = {"label": "cat", "x": 0.1, "y": 0.1, "x2": 0.5, "y2": 0.5}
    labels, problems = read(bucket(tmp_path, {**CATS, "c.jpg": [box, box]}, type="localization"))

    assert "cat" == labels["c.jpg"]
    assert 2 == problems["localization"].count


def test_boxes_may_be_left_out_by_a_decision_or_by_the_description(tmp_path):
    """Whoever wants only the labels of whole images says so once, on the command line, the page, or in the bucket."""
    box = {"label": "dog", "x": 0.1, "y": 0.1, "x2": 0.5, "y2": 0.5}
    store = bucket(tmp_path, {**CATS, "c.jpg": [box]}, type="localization")

    decided = read_bucket(store, decisions={"localization": "leave_out"})
    store.write("visrec.toml", b'[decisions]\nlocalization = "leave_out"\n')

    assert "c.jpg" not in set(decided.samples["file"])
    assert decided.samples.equals(read_bucket(store).samples)
    assert "c.jpg" in set(read_bucket(store, decisions={"localization": "as_labels"}).samples["file"])


@pytest.mark.parametrize(
    "text",
    [
        b'{"version": "2.0", "images": {}, "annotations": {}}',
        b'{"version": "1.0", "annotations": []}',
        b"[]",
        b"{oops",
        b"",
    ],
)
def test_what_is_not_version_one_is_refused_with_advice(tmp_path, text):
    """Version 2, damage, anything else: a sentence."""
    store = bucket(tmp_path, CATS)
    store.write("_annotations.json", text)

    with pytest.raises(InputError, match=r"export|expected"):
        read(store)


def test_real_project_is_read_without_complaint(shared):
    """197 photos, two labels."""
    labels, problems = read(FolderStore(shared / "data/stop-signs"))

    assert 197 == len(labels)
    assert {"stop", "not_stop"} == set(labels.values())
    assert {} == problems
