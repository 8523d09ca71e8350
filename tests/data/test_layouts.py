"""Tests for the readers in visrec.data: untidy names, columns and files are read, or named in a sentence."""

import json
import os

import pandas as pd
import pytest

from visrec.data import class_folders
from visrec.data.doctor import inspect
from visrec.data.layouts import read_bucket
from visrec.data.table import Source, read_table
from visrec.errors import InputError
from visrec.storage.base import ObjectInfo
from visrec.storage.folder import FolderStore

IMAGES = ("1.jpg", "2.jpg")


def bucket(folder, files: dict[str, str], images=IMAGES) -> FolderStore:
    store = FolderStore(folder, create=True)
    for key, text in files.items():
        store.write(key, text.encode())
    for key in images:
        store.write_fast(key, b"not looked at")
    return store


def kinds(table) -> dict:
    return {p.kind: p for p in table.problems}


def test_names_that_are_not_utf8_are_left_out_and_named(tmp_path):
    """A folder name with a byte of Latin-1, as old disks and archives have them."""
    store = bucket(tmp_path, {}, ("cat/1.jpg", "dog/2.jpg"))
    folder = os.fsencode(tmp_path) + b"/ren\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system holds no such names")
    with open(folder + b"/3.jpg", "wb") as file:
        file.write(b"not looked at")

    found = {p.kind: p for p in inspect(store).problems}

    assert ["cat/1.jpg", "dog/2.jpg"] == list(read_bucket(store).samples["file"])
    assert (1, ["ren\\udce9/3.jpg"]) == (found["unusable_name"].count, found["unusable_name"].examples)


def test_bucket_of_nothing_but_unusable_names_is_a_sentence():
    """It is not called empty."""

    class Named:
        url = "bucket"

        def list(self):
            return iter([ObjectInfo("ren\udce9/3.jpg", 1, "")])

    with pytest.raises(InputError, match="unusable_name: 1, such as ren"):
        read_bucket(Named())


def coco(pairs) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(IMAGES)],
            "categories": [{"id": "cat", "name": "cat"}, {"id": "dog", "name": "dog"}],
            "annotations": [{"image_id": IMAGES.index(name), "category_id": label} for name, label in pairs],
        }
    )


@pytest.mark.parametrize(("rule", "label"), [("set_aside", None), ("first", "cat"), ("combine", "cat + dog")])
@pytest.mark.parametrize(
    "documents",
    [
        ([("1.jpg", "cat"), ("1.jpg", "dog"), ("2.jpg", "dog")], [("1.jpg", "cat")]),
        ([("1.jpg", "cat"), ("2.jpg", "dog")], [("1.jpg", "dog")]),
    ],
)
def test_one_label_rule_speaks_of_all_coco_documents_together(tmp_path, documents, rule, label):
    """An image that was set aside for its labels is not labelled by the next document."""
    store = bucket(tmp_path, {f"{n}.json": coco(pairs) for n, pairs in enumerate(documents)})

    table = read_bucket(store, decisions={"multiple_labels": rule})

    assert label == dict(zip(table.samples["file"], table.samples["label"], strict=True)).get("1.jpg")
    assert ["1.jpg: cat, dog"] == kinds(table)["multiple_labels"].examples
    assert "conflicting_rows" not in kinds(table)


def test_coco_image_labelled_the_same_twice_counts_once(tmp_path):
    """In two documents, as in a whole and a part of it."""
    pairs = [("1.jpg", "cat"), ("2.jpg", "dog")]

    table = read_bucket(bucket(tmp_path, {"a.json": coco(pairs), "b.json": coco(pairs[:1])}))

    assert ["cat", "dog"] == list(table.samples["label"])
    assert ["1.jpg"] == kinds(table)["repeated_row"].examples


def test_empty_metadata_leaves_the_class_folders_readable(tmp_path):
    """A table that cannot be read labels nothing, and hinders nothing."""
    store = bucket(tmp_path, {"metadata.csv": ""}, ("cat/1.jpg", "dog/2.jpg"))

    assert "class_folders" == read_bucket(store).layout


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_json_line_ends_at_a_line_feed_only(end):
    """U+2028 and its kind may stand inside a text."""
    rows = [{"file": "1.jpg", "label": "a\u2028b"}, {"file": "2.jpg", "label": "c\x85d"}]
    text = end.join(json.dumps(row, ensure_ascii=False) for row in rows)

    table = read_table(text.encode(), "labels.jsonl")

    assert [row["label"] for row in rows] == list(table["label"])


def test_double_slashes_make_no_nameless_class():
    """An object store holds such keys; a folder cannot."""
    keys = ["train//cat/1.jpg", "train/dog//2.jpg", "/train/cat/3.jpg", "train//4.jpg"]

    table = class_folders.read(Source(None, {key: ObjectInfo(key, 1, "") for key in keys}))

    assert dict(zip(keys, ["cat", "dog", "cat"], strict=False)) == dict(
        zip(table.samples["file"], table.samples["label"], strict=True)
    )
    assert {"train"} == set(table.samples["split"])


def test_description_may_choose_columns_beside_those_of_the_very_name(tmp_path):
    """`file` and `split` of the table are then columns like others."""
    text = "file,split,name,use,label,status,status (column)\na,x,1.jpg,train,cat,p,q\nb,y,2.jpg,val,dog,r,s\n"
    said = '[labels]\ntable = "labels.csv"\nfile = "name"\nsplit = "use"\n'

    samples = read_bucket(bucket(tmp_path, {"labels.csv": text, "visrec.toml": said})).samples

    assert [["1.jpg", "train"], ["2.jpg", "val"]] == samples[["file", "split"]].to_numpy().tolist()
    assert ["a", "b"] == list(samples["file (column)"])
    assert ["x", "y"] == list(samples["split (column)"])
    assert [["p", "q"], ["r", "s"]] == samples[["status (column)", "status (column) (2)"]].to_numpy().tolist()


def test_description_of_a_split_column_that_is_not_there_is_a_sentence(tmp_path):
    """The nearest name is offered."""
    said = '[labels]\ntable = "labels.csv"\nsplit = "uses"\n'
    store = bucket(tmp_path, {"labels.csv": "file,use,label\n1.jpg,train,cat\n2.jpg,val,dog\n", "visrec.toml": said})

    with pytest.raises(InputError, match="Did you mean 'use'"):
        read_bucket(store)


def test_metadata_may_have_a_file_column_beside_its_file_name(tmp_path):
    """The one that names the images is used, the other kept under another name."""
    store = bucket(tmp_path, {"metadata.csv": "file_name,file,label\n1.jpg,a,cat\n2.jpg,b,dog\n"})

    samples = read_bucket(store).samples

    assert ["1.jpg", "2.jpg"] == list(samples["file"])
    assert ["a", "b"] == list(samples["file (column)"])


def test_header_names_equal_but_for_blanks_stay_apart(tmp_path):
    """The later one gets a number, and not one that is taken."""
    store = bucket(tmp_path, {"labels.csv": "file,label,label ,label (2)\n1.jpg,cat,x,s\n2.jpg,dog,y,t\n"})

    samples = read_bucket(store).samples

    assert ["file", "split", "label", "label (3)", "label (2)"] == list(samples.columns)
    assert [["cat", "x", "s"], ["dog", "y", "t"]] == samples[["label", "label (3)", "label (2)"]].to_numpy().tolist()


def test_json_lines_and_parquet_keep_names_equal_but_for_blanks_too():
    """Whatever the form the table is written in."""
    frame = pd.DataFrame({"label": ["a"], " label": ["b"]})
    lines = frame.to_json(orient="records", lines=True).encode()

    assert ["label", "label (2)"] == list(read_table(lines, "labels.jsonl").columns)
    assert ["label", "label (2)"] == list(read_table(frame.to_parquet(), "labels.parquet").columns)
