"""Tests for visrec.data.fairface: damage that public copies carry is recognised and mended to FairFace's own words."""

import pandas as pd
import pytest

from visrec.data.doctor import inspect
from visrec.data.fairface import AGES, RACES, canonical, repair, un_excel
from visrec.data.layouts import read_bucket
from visrec.data.table import read_table
from visrec.storage.folder import FolderStore

HEADER = "file,age,gender,race,service_test\n"


def bucket(folder, text: str, files=("train/1.jpg", "train/2.jpg"), name="fairface_label_train.csv"):
    store = FolderStore(folder, create=True)
    store.write(name, text.encode() if isinstance(text, str) else text)
    for file in files:
        store.write_fast(file, b"not looked at")
    return store


def kinds(table) -> dict:
    return {p.kind: p for p in table.problems}


@pytest.mark.parametrize(
    ("damaged", "right"),
    [("03-Sep", "3-9"), ("3-Sep", "3-9"), ("Oct-19", "10-19"), ("19-Oct", "10-19"), ("2024-09-03", "3-9"),
     ("9-Mar", "3-9"), ("Sep-03", "3-9"), ("October 19", "10-19")],
)  # fmt: skip
def test_date_is_the_age_range_it_was(damaged, right):
    """Whatever a spreadsheet's language made of it."""
    assert un_excel(damaged) == right


@pytest.mark.parametrize("value", [*AGES, "70+", "May-31", "3-99", "", "Septem-ber"])
def test_what_is_no_date_of_an_age_is_left_alone(value):
    """Only ranges that FairFace has are ever made."""
    assert un_excel(value) is None


@pytest.mark.parametrize("column", ["age", "race"])
def test_own_words_stay(column):
    """A clean value is its own canonical form."""
    for value in AGES if column == "age" else RACES:
        assert canonical(value, column) == value


def test_repair_is_idempotent_and_changes_no_input():
    """Mending twice is mending once; the table given stays as it was."""
    table = pd.DataFrame({"file": ["1"], "age": ["03-Sep"], "gender": ["male "], "race": ["east asian"]})
    once, problems, repairs = repair(table)
    twice, none, _ = repair(once)

    assert once.equals(twice)
    assert [] == none
    assert "03-Sep" == table["age"][0]
    assert {"excel_damage", "alias_value"} == {p.kind for p in problems}
    assert 3 == len(repairs)


def test_unknown_value_is_kept_and_named():
    """What is not safe to mend is not mended."""
    table, problems, _ = repair(pd.DataFrame({"file": ["1"], "race": ["Martian"]}))

    assert "Martian" == table["race"][0]
    assert ["race: Martian"] == problems[0].examples


def test_damaged_copy_reads_like_the_clean_one(tmp_path):
    """Prefix, dates, 70+, TRUE, semicolons and a byte order mark, all at once."""
    clean = bucket(
        tmp_path / "a",
        HEADER + "train/1.jpg,3-9,Male,East Asian,True\ntrain/2.jpg,more than 70,Female,Latino_Hispanic,False\n",
    )
    text = "\ufefffile;age;gender;race;service_test\r\nfairface/train/1.jpg;03-Sep;male;East asian;TRUE\r\n"
    text += "fairface\\train\\2.jpg;70+;Female;Latino Hispanic;FALSE\r\n"
    damaged = bucket(tmp_path / "b", text)

    assert read_bucket(clean).samples.equals(read_bucket(damaged).samples)
    assert {"path_prefix", "excel_damage", "alias_value"} == set(kinds(read_bucket(damaged)))
    assert all(p.severity == "info" for p in read_bucket(damaged).problems)


def test_cut_label_file_is_suspected(tmp_path):
    """Exactly 5,000 rows while more images lie there."""
    rows = "".join(f"train/{n}.jpg,3-9,Male,White,True\n" for n in range(5000))
    store = bucket(tmp_path, HEADER + rows, [f"train/{n}.jpg" for n in range(5010)])

    found = kinds(read_bucket(store))

    assert 10 == found["unlabelled"].count
    assert ["5,000 rows"] == found["cut_label_file"].examples


def test_file_said_twice_counts_once_or_not_at_all(tmp_path):
    """The same row again is merged; a contradiction is set aside and named."""
    rows = "train/1.jpg,3-9,Male,White,True\n" * 2
    rows += "train/2.jpg,3-9,Male,White,True\ntrain/2.jpg,3-9,Female,White,True\n"

    table = read_bucket(bucket(tmp_path, HEADER + rows))

    assert ["train/1.jpg"] == list(table.samples["file"])
    assert ["train/2.jpg"] == kinds(table)["conflicting_rows"].examples
    assert 1 == kinds(table)["repeated_row"].count


def test_further_columns_are_targets_and_attributes(tmp_path):
    """The demo adds `expression`; anything else may be added too, but not what tells every image apart."""
    rows = "".join(f"train/{n}.jpg,3-9,Male,White,True,{'ab'[n % 2]},id{n}\n" for n in range(60))
    header = HEADER.replace("service_test", "service_test,mood,identifier")
    table = read_bucket(bucket(tmp_path, header + rows, [f"train/{n}.jpg" for n in range(60)]))

    assert ["mood"] == table.targets
    assert {"race", "age", "gender", "service_test", "mood"} == set(table.attributes)


@pytest.mark.parametrize("gone", ["gender", "race", "age"])
def test_defaults_name_only_columns_that_are_there(tmp_path, gone):
    """A label file with fewer columns is inspected; what is left of the defaults stays."""
    rows = pd.DataFrame(
        {"file": ["train/1.jpg", "train/2.jpg"], "age": ["3-9", "0-2"], "gender": ["Male", "Female"], "race": "White"}
    ).drop(columns=gone)

    table = inspect(bucket(tmp_path, rows.to_csv(index=False))).table

    assert table.defaults.get("target") == (None if gone == "gender" else "gender")
    assert table.defaults["by"] == [name for name in ("race", "age") if name != gone]


def test_columns_that_clash_with_those_of_visrec_are_renamed(tmp_path):
    """A split of its own, a second column of files, an age written twice."""
    store = bucket(
        tmp_path, "path,Age,AGE,gender,race,split,file\n1.jpg,3-9,x,Male,White,a,b\n2.jpg,3-9,y,Female,White,b,b\n"
    )

    samples = read_bucket(store).samples

    assert ["train", "train"] == list(samples["split"])
    assert {"split (column)", "file (column)", "age", "age (2)"} <= set(samples.columns)


def test_table_in_a_folder_finds_its_images(tmp_path):
    """A bucket whose root holds one folder with everything in it."""
    store = bucket(
        tmp_path,
        HEADER + "train/1.jpg,3-9,Male,White,True\ntrain/2.jpg,3-9,Female,White,True\n",
        ("fairface/train/1.jpg", "fairface/train/2.jpg"),
        "fairface/fairface_label_train.csv",
    )

    assert ["fairface/train/1.jpg", "fairface/train/2.jpg"] == list(read_bucket(store).samples["file"])


def test_real_damaged_labels_become_the_clean_ones(shared):
    """5,000 validation labels as a spreadsheet left them, against the published ones."""
    damaged = read_table((shared / "predictions/fairface_label_val.excel-damaged.csv").read_bytes(), "damaged")
    clean = pd.read_csv(shared / "predictions/fairface-val-gender-10954.csv", dtype=str)
    clean["file"] = clean["file"].str.removeprefix("fairface/")
    columns = ["age", "gender", "race", "service_test"]

    repaired = repair(damaged)[0].set_index("file")[columns]

    assert 5000 == len(repaired)
    assert repaired.equals(clean.set_index("file").loc[repaired.index, columns].astype("str"))


def test_real_bucket_is_read_whole_and_without_complaint(shared):
    """13,000 faces; every label is there and none is damaged."""
    table = read_bucket(FolderStore(shared / "data/fairface"))

    assert "fairface" == table.layout
    assert {"train": 10_000, "val": 3_000} == table.samples["split"].value_counts().to_dict()
    assert set(AGES) == set(table.samples["age"])
    assert set(RACES) == set(table.samples["race"])
    assert [] == table.problems
