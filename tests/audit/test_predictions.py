"""Tests for visrec.audit.predictions and what it reads with."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visrec.audit import encode
from visrec.audit.engine import audit
from visrec.audit.filenames import file_keys, path_ends
from visrec.audit.predictions import load_predictions
from visrec.errors import InputError, NotFoundError


def reasons(predictions):
    """Reason to count of the rows left out."""
    return {s.reason: s.count for s in predictions.skipped}


def small(**columns):
    """Four rows, with columns replaced or added."""
    rows = {"file": list("abcd"), "label": ["x", "y", "x", "y"], "prediction": ["x", "y", "y", "y"], "g": list("ppqq")}
    return pd.DataFrame(rows | columns)


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame", "arrow"])
def test_every_source_gives_the_same_cube(kind, faces, tmp_path):
    """A table is the same table as CSV, Parquet, DataFrame or Arrow."""
    source = faces
    if kind == "csv":
        source = tmp_path / "t.csv"
        faces.to_csv(source, index=False)
    elif kind == "parquet":
        source = tmp_path / "t.parquet"
        faces.to_parquet(source)
    elif kind == "arrow":
        source = pa.Table.from_pandas(faces)
    ours, direct = load_predictions(source), load_predictions(faces)
    assert ours.labels == direct.labels == ("no", "yes")
    assert [(a.name, a.values) for a in ours.attributes] == [(a.name, a.values) for a in direct.attributes]
    assert (ours.cube.count == direct.cube.count).all()
    assert ours.cube.score_sum == pytest.approx(direct.cube.score_sum, abs=1e-9)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_too_large_to_keep_is_counted_the_same(ending, faces, tmp_path):
    """Streamed batches, repeated and contradicting files included, give the very cube that memory gives."""
    twice = faces.iloc[:7].copy()
    against = faces.iloc[10:13].assign(prediction=lambda t: np.where(t["prediction"] == "yes", "no", "yes"))
    rows = pd.concat([faces, twice, against])
    path = tmp_path / f"t.{ending}"
    rows.to_csv(path, index=False) if ending == "csv" else rows.to_parquet(path, row_group_size=500)
    kept, counted = load_predictions(path, keep_rows=True), load_predictions(path, keep_rows=False)
    assert counted.rows is None
    assert reasons(kept) == reasons(counted)
    assert reasons(kept) == {
        "file repeated with the same answer (kept once)": 7,
        "file with contradicting rows": 6,
    }
    for by in (["race"], ["race", "age"]):
        assert (kept.cube.table(by).counts == counted.cube.table(by).counts).all()
    sums = kept.cube.score_sums(["race"]), counted.cube.score_sums(["race"])
    assert sums[0] == pytest.approx(sums[1], abs=1e-9)


def test_numbers_become_cells_in_order():
    """Bins have plain names, follow the edges, and hold the missing as unknown."""
    rows = small(age=[1.0, 3.0, np.nan, 40.0])
    attribute = load_predictions(rows, bins={"age": [0, 3, 10]}, attributes=["age"]).attributes[0]
    assert attribute.values == ("0 to <3", "3 to <10", "10 and more", "unknown")


def test_quantile_bins_are_of_equal_size(faces):
    """Four groups of a number hold a quarter each."""
    rows = faces.assign(size=np.arange(len(faces)) ** 1.5)
    predictions = load_predictions(rows, bins={"size": 4}, attributes=["size"])
    assert predictions.cube.table(["size"]).predicted.tolist() == [750] * 4


def test_a_quantile_edge_is_a_number_of_the_column():
    """Found among rounded numbers, an edge of 0.3 put the rows of exactly 0.3 into the bin below it."""
    rows = pd.DataFrame({"label": ["x", "y"] * 50, "prediction": ["x", "y"] * 50, "size": [0.1] * 50 + [0.3] * 50})
    predictions = load_predictions(rows, bins={"size": 2}, attributes=["size"])

    assert ("below 0.3", "0.3 and more") == predictions.attributes[0].values
    assert [50, 50] == predictions.cube.table(["size"]).predicted.tolist()


def test_large_edges_keep_names_of_their_own():
    """Dates written as numbers differ in the last of eight digits."""
    assert 4 == len(set(encode.bin_names([20261127, 20261128, 20261129])))


@pytest.mark.parametrize("flipped", [False, True])
def test_a_lone_score_column_speaks_for_the_class_it_is_named_after(flipped):
    """Whatever the model predicts: a threshold of 0.3 makes every answer F, at scores below a half."""
    rows = pd.DataFrame({"label": list("MFMF"), "prediction": ["F"] * 4, "score:F": [0.35, 0.45, 0.31, 0.44]})
    if flipped:
        rows = rows.rename(columns={"score:F": "score:M"})
    notes = load_predictions(rows).notes

    assert any(f"read as the score of '{'M' if flipped else 'F'}'" in note for note in notes)


def test_a_lone_score_column_without_any_prediction_asks_for_its_class():
    """Nothing tells which of the two it is for."""
    rows = pd.DataFrame({"label": list("MFMF"), "prediction": [None] * 4, "s": [0.35, 0.45, 0.31, 0.44]})
    with pytest.raises(InputError, match="--score-class"):
        load_predictions(rows, scores="s", labels=["F", "M"])


def test_ages_sort_as_people_sort_them():
    """3-9 comes before 10-19, and words after numbers."""
    values = load_predictions(small(g=["10-19", "3-9", "more than 70", None])).attributes[0].values
    assert values == ("3-9", "10-19", "more than 70", "unknown")


def test_rows_without_a_prediction_have_a_rate_of_their_own():
    """They leave the rates, and are counted per cell; a face not found is a failure too."""
    cells = audit(load_predictions(small(prediction=["x", None, "y", ""])), by="g").cells.set_index("g")
    assert cells.loc["p", ["n", "absent", "missing"]].tolist() == [1, 1, 0.5]
    assert cells.loc["p", "accuracy"] == 1.0


def test_missing_wrong_counts_them_as_errors():
    """With missing="wrong" the same rows are errors, in accuracy and in TPR."""
    predictions = load_predictions(small(prediction=["x", None, "y", "y"]))
    overall = audit(predictions, by="g", missing="wrong").overall.iloc[0]
    assert overall["accuracy"] == 0.5
    cells = audit(predictions, by="g", outcome="y", missing="wrong").cells.set_index("g")
    assert cells.loc["p", ["tpr", "tpr_n", "accuracy"]].tolist() == [0.0, 1, 0.5]


def test_words_that_are_no_class_are_named_and_left_out():
    """With the classes known, a strange label or prediction is counted, shown and not used."""
    rows = small(label=["x", "y", "w", None], prediction=["x", "z", "x", "y"])
    predictions = load_predictions(rows, labels=["x", "y"])
    assert reasons(predictions) == {"unknown label": 1, "unknown prediction": 1, "no label": 1}
    assert {s.reason: s.examples for s in predictions.skipped}["unknown prediction"] == ("z",)
    assert predictions.cube.rows == 1


def test_a_row_left_out_is_counted_once():
    """Under the first reason: what is left out and what is used together are all rows."""
    rows = small(label=["x", "y", "w", None], prediction=["x", "x", "z", "q"])
    predictions = load_predictions(rows, labels=["x", "y"])
    assert reasons(predictions) == {"unknown label": 1, "no label": 1}
    assert predictions.cube.rows + sum(s.count for s in predictions.skipped) == 4


def test_attributes_are_joined_by_file_with_folders_reconciled():
    """fairface/val/1.jpg and val/1.jpg are one image; files without a partner are unknown."""
    rows = small(file=["fairface/val/1.jpg", "fairface/val/2.jpg", "fairface/val/3.jpg", "fairface/val/9.jpg"])
    table = pd.DataFrame({"file": ["val/3.jpg", "val/1.jpg", "val/2.jpg"], "race": ["r3", "r1", "r2"]})
    predictions = load_predictions(rows, attribute_table=table)
    frame = predictions.frame(np.arange(4))
    assert frame["race"].tolist() == ["r1", "r2", "r3", "unknown"]
    assert "last 2 part(s)" in predictions.notes[0]


def test_tables_that_name_other_images_do_not_join():
    """No name in common is a mistake, and both are quoted."""
    with pytest.raises(InputError, match=r"No file of the table .such as 'a'.*such as 'q.jpg'"):
        load_predictions(small(), attribute_table=pd.DataFrame({"file": ["q.jpg"], "race": ["r"]}))


def test_file_keys_do_not_depend_on_their_neighbours():
    """The digest of a name is the same beside long and beside non-ASCII names."""
    names = ["a.jpg", "folder/b.jpg", "größe/ü.jpg", "x" * 300]
    together = file_keys(pa.array(names))
    alone = [int(file_keys(pa.array([n]))[0]) for n in names]
    assert together.tolist() == alone
    assert len(set(alone)) == 4


def test_path_ends_keep_short_names():
    """A name with fewer parts stays whole."""
    assert path_ends(pa.array(["a/b/c", "c"]), 2).to_pylist() == ["b/c", "c"]


def test_a_lone_score_speaks_for_the_class_predicted_at_high_scores():
    """Nobody needs to say which class the score is of; what was decided is noted."""
    predictions = load_predictions(small(s=[0.1, 0.9, 0.8, 0.7]), scores="s")
    assert "read as the score of 'y'" in predictions.notes[0]
    assert predictions.rows.scores[:, 1].tolist() == [0.1, 0.9, 0.8, 0.7]


def test_predictions_may_come_from_scores_alone():
    """Without a prediction column the highest score is the answer."""
    rows = (
        small().drop(columns="prediction").assign(**{"score:x": [0.9, 0.2, 0.4, 0.1], "score:y": [0.1, 0.8, 0.6, 0.9]})
    )
    assert load_predictions(rows).cube.table(["g"]).counts.sum(axis=0).tolist() == [[1, 1], [0, 2]]


def test_splits_are_chosen_and_the_rest_is_counted():
    """Rows of another split are no fault of the table; they are counted apart."""
    predictions = load_predictions(small(split=["val", "val", "train", "val"]), split="val")
    assert (predictions.cube.rows, predictions.other_splits, predictions.total) == (3, 1, 4)
    with pytest.raises(InputError, match=r"no rows of the split 'test'.*train, val"):
        load_predictions(small(split=["val", "val", "train", "val"]), split="test")


def test_truth_values_and_whole_numbers_are_words():
    """True and 1.0 make cells named True and 1."""
    predictions = load_predictions(small(flag=[True, False, True, None], size=[1.0, 2.0, 1.0, 2.0]))
    assert [a.values for a in predictions.attributes] == [("p", "q"), ("False", "True", "unknown"), ("1", "2")]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"label": "lable"}, "no column 'lable' .the label.. Did you mean 'label'. There are: file"),
        ({"s": [0.1, 1.5, 0.2, 0.3]}, {"scores": "s"}, "between 0 and 1, but one is 1.5 .1 such rows"),
        ({"s": ["0.1", "high", "0.2", "0.3"]}, {"scores": "s"}, "should hold numbers, but has the text 'high'"),
        ({"g": ["a", "b", "c", "d"]}, {"bins": {"g": [1, 2]}}, "should hold numbers, but has the text 'a'"),
        ({"label": [None] * 4}, {}, "no rows that can be audited: 4 x no label"),
    ],
)
def test_bad_tables_get_a_sentence(change, options, message):
    """What came, what was expected, how to mend it."""
    with pytest.raises(InputError, match=message):
        load_predictions(small(**change), **options)


def test_an_attribute_with_5000_values_makes_no_subgroups():
    """Named as an attribute it is refused with a way out; unnamed it is simply not taken for one."""
    n = 5000
    rows = pd.DataFrame({"label": ["x"] * n, "prediction": ["x"] * n, "who": [f"id {i}" for i in range(n)]})
    with pytest.raises(InputError, match=r"'who' has more than 1,000 different values .*--bin who="):
        load_predictions(rows, attributes=["who"])
    assert load_predictions(rows).attributes == ()


@pytest.mark.parametrize("text", ["", "file,label,prediction\n"])
def test_a_table_without_rows_is_refused(text, tmp_path):
    """An empty file and a lone header both say that rows are missing."""
    path = tmp_path / "empty.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"empty|no rows"):
        load_predictions(path)


def test_what_is_no_table_is_refused(tmp_path):
    """A missing file, bytes that are no text, a broken Parquet file: each a sentence."""
    with pytest.raises(NotFoundError, match="There is no file"):
        load_predictions(tmp_path / "none.csv")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        load_predictions(broken)
    binary = tmp_path / "photo.csv"
    binary.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match="not a CSV table"):
        load_predictions(binary)


@pytest.mark.parametrize("word", ["None", "NA", "null", "N/A"])
def test_a_class_or_group_may_be_called_none(word):
    """In memory, as the predictions of a run are, a missing value is null; these words are names."""
    rows = small(label=[word, "y", word, "y"], prediction=[word, "y", None, "y"], g=[word, word, "q", None])
    for labels in (None, [word, "y"]):
        predictions = load_predictions(rows, labels=labels)
        assert set(predictions.labels) == {word, "y"}
        assert predictions.cube.rows == 4
        assert audit(predictions, by="g", replicates=5).cells.set_index("g")["n"].to_dict() == {
            word: 2, "q": 0, "unknown": 1,
        }  # fmt: skip


def test_a_word_of_a_csv_that_names_a_class_is_no_missing_value(tmp_path):
    """The score columns name the classes; elsewhere the word still leaves a value out."""
    path = tmp_path / "t.csv"
    path.write_text("label,prediction,score:None,score:y,g\nNone,y,0.1,0.9,None\ny,None,0.8,0.2,p\n")
    predictions = load_predictions(path, attributes=["g"])

    assert (predictions.labels, predictions.cube.rows) == (("None", "y"), 2)
    assert predictions.attributes[0].values == ("p", "unknown")


def test_words_of_a_joined_table_mean_what_they_mean_there(tmp_path):
    """A missing value of the CSV stays one, and a group of the DataFrame stays a group."""
    (tmp_path / "groups.csv").write_text("file,age\na,NA\nb,old\nc,old\nd,NA\n")
    predictions = load_predictions(small(g=["NA", "NA", "q", "q"]), attribute_table=tmp_path / "groups.csv")

    assert {a.name: set(a.values) for a in predictions.attributes} == {"g": {"NA", "q"}, "age": {"old", "unknown"}}


def test_rows_without_a_file_name_are_not_one_file(tmp_path):
    """A CSV can leave a name out only by a blank; ten of them are ten images."""
    path = tmp_path / "t.csv"
    path.write_text("file,label,prediction\n" + ",x,y\n" * 5 + " ,x,x\n" * 5 + "z.jpg,x,x\n")
    for keep in (True, False):
        predictions = load_predictions(path, keep_rows=keep)
        assert (predictions.cube.rows, reasons(predictions)) == (11, {})


def test_rows_without_a_file_name_join_no_attributes(tmp_path):
    """Nor does a row of the attribute table without one."""
    (tmp_path / "groups.csv").write_text("file,age\n,old\nb,young\n")
    (tmp_path / "t.csv").write_text("file,label,prediction\n,x,x\nb,x,x\n")
    predictions = load_predictions(tmp_path / "t.csv", attribute_table=tmp_path / "groups.csv")

    assert audit(predictions, by="age", replicates=5).cells.set_index("age")["n"].to_dict() == {
        "young": 1, "unknown": 1,
    }  # fmt: skip


def test_rows_of_attributes_that_say_the_same_twice_count_once(tmp_path):
    """And those that contradict each other are named."""
    path = tmp_path / "groups.csv"
    path.write_text("file,age\na,old\nb,old\na,old\nc,young\nd,young\n")
    assert load_predictions(small(), attribute_table=path).cube.rows == 4

    path.write_text("file,age\na,old\nb,old\na,young\n")
    with pytest.raises(InputError, match="different things of 1 files, such as 'a'; expected one row per file"):
        load_predictions(small(), attribute_table=path)


@pytest.mark.parametrize("text", ["label,prediction\n", "label,prediction\n\n", "label,prediction\n\n\n\n"])
def test_a_header_without_rows_is_a_sentence(tmp_path, text):
    """However many blank lines follow it."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match="has no rows; expected one row per image"):
        load_predictions(tmp_path / "t.csv")


def test_a_short_line_in_a_csv_is_named(tmp_path):
    """A line with a column too few is a fault of the file, said with the line."""
    path = tmp_path / "t.csv"
    path.write_text("label,prediction,g\nx,x,1\nx,x\n")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        load_predictions(path)


def test_single_rows_are_found_for_a_gallery(faces):
    """The rows behind a matrix square, and the wrongly answered rows of a slice."""
    predictions = load_predictions(faces)
    places = predictions.find({"race": ["b"]}, label="yes", prediction="no")
    frame = predictions.frame(places)
    counts = audit(predictions, by="race").confusion()
    assert len(places) == counts[("b",)][1, 0]
    assert set(frame["race"]) == {"b"}
    wrong = predictions.frame(predictions.find(wrong=True))
    assert (wrong["label"] != wrong["prediction"]).all()
    assert frame["score"].between(0.5, 1).all()


def test_parquet_with_dictionary_columns_and_nulls(tmp_path):
    """Columns that are stored as dictionaries, with nulls among them, are read as words."""
    table = pa.table(
        {"label": pa.array(["x", "y", None]).dictionary_encode(), "prediction": ["x", "y", "x"], "g": ["p", None, "p"]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    predictions = load_predictions(tmp_path / "t.parquet")
    assert predictions.cube.rows == 2
    assert reasons(predictions) == {"no label": 1}
