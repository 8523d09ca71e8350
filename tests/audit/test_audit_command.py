"""Tests for ``visrec audit``: exit codes, one JSON document, the gate and the report."""

import json

import pandas as pd
import pytest

from visrec.audit.predictions import load_predictions
from visrec.audit.splits import choose_split, default_split, meaning
from visrec.cli import run
from visrec.data.table import SPLITS
from visrec.errors import InputError


@pytest.fixture
def table(faces, tmp_path):
    """The faces as a CSV file."""
    path = tmp_path / "faces.csv"
    faces.to_csv(path, index=False)
    return path


def call(capsys, *args):
    """Exit code, standard output and standard error of one command."""
    code = run(["audit", *map(str, args)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_is_exactly_one_document(table, capsys):
    """Everything else goes to standard error."""
    code, out, _ = call(capsys, table, "--by", "race", "--outcome", "yes", "--json", "--scan")
    document = json.loads(out)
    assert code == 0
    assert document["rows"] == 3000
    assert [c["race"] for c in document["cells"]] == ["a", "b", "c"]
    assert document["aif360"]["disparate_impact"]["value"] > 0
    assert document["subset"]["subset"] == {"race": ["b"], "age": ["old"]}


def test_people_get_a_table_and_sentences(table, capsys):
    """Without --json: cells with intervals, then what can be said."""
    code, out, _ = call(capsys, table, "--by", "race", "--outcome", "yes", "--no-aif360")
    assert code == 0
    assert "The gap in TPR by race is" in out
    assert "3,000 rows of 3,000" in out


def test_a_rate_below_the_minimum_count_is_unknown_to_people_too(table, capsys):
    """As on the page and in the report; the line of all rows keeps its rates."""
    code, out, _ = call(capsys, table, "--by", "race", "--min-count", "1000", "--no-aif360")
    assert code == 0
    assert out.count("unknown, n = ") == 2 * 2  # accuracy and selection rate of b and c
    assert "all" in out.splitlines()[6]
    assert "unknown" not in out.splitlines()[6]


def test_nothing_to_split_by_is_shown_too(table, capsys):
    """Without --by there is one line for all rows."""
    code, out, _ = call(capsys, table, "--no-aif360")
    assert code == 0
    assert "accuracy" in out


def test_policy_decides_the_exit_code(table, tmp_path, capsys):
    """0 when kept, 1 when broken, 2 when it makes no sense; the document is printed either way."""
    kept, broken, wrong, absent = (tmp_path / f"{n}.yaml" for n in ("kept", "broken", "wrong", "absent"))
    kept.write_text("rules:\n  - {gap: accuracy, at_most: 0.9}\n")
    broken.write_text("- {rate: accuracy, at_least: 0.999}\n- {gap: tpr, at_most: 0.9}\n")
    wrong.write_text("- {gap: [\n")
    common = (table, "--by", "race", "--outcome", "yes", "--no-aif360", "--json", "--policy")
    code, out, _ = call(capsys, *common, kept)
    assert (code, json.loads(out)["policy"]["passed"]) == (0, True)
    code, out, _ = call(capsys, *common, broken)
    assert (code, [r["passed"] for r in json.loads(out)["policy"]["rules"]]) == (1, [False, True])
    assert call(capsys, *common, wrong)[0] == 2
    assert call(capsys, *common, absent)[0] == 2


def test_report_is_written_whole(table, tmp_path, capsys):
    """-o writes one page, and leaves no half file."""
    path = tmp_path / "deep" / "report.html"
    code, _, _ = call(capsys, table, "--by", "race", "--outcome", "yes", "--no-aif360", "-o", path)
    assert code == 0
    assert "<table>" in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--label", "lable"], "Did you mean 'label'?"),
        (["--by", "rase"], "Did you mean 'race'?"),
        (["--by", "file"], "more than 1,000 different values"),
        (["--score", "race", "--by", "age"], "should hold numbers"),
        (["--by", "race", "--where", "race"], "expected ATTRIBUTE=VALUE"),
        (["--by", "race", "--bin", "age=3"], "should hold numbers"),
        (["--by", "race", "--bin", "age=9,3"], "must rise"),
        (["--by", "race", "--split", "val"], "no column 'split'"),
        (["--by", "race", "--min-count", "few"], "invalid int value"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(table, capsys, args, message):
    """No traceback, nothing on standard output."""
    code, out, err = call(capsys, table, *args, "--json")
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_neither_a_run_nor_a_file_is_2(tmp_path, capsys, monkeypatch):
    """A name that is no run, and a file that is not there."""
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    assert call(capsys, "no-such-run", "--by", "race")[0] == 2
    code, _, err = call(capsys, tmp_path / "none.csv", "--by", "race")
    assert code == 2
    assert "There is no file" in err


def test_rows_on_which_nothing_was_chosen_come_first(faces):
    """test, else val; train only when asked for by name."""
    assert default_split(faces) is None
    assert default_split(faces.assign(split="val")) == "val"
    assert default_split(faces.assign(split=["val", "test"] * 1500)) == "test"
    with pytest.raises(InputError, match="training has seen train"):
        default_split(faces.assign(split="train"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(("train", "validation"), "validation"), (("Train", "Val"), "Val"), (("training", "test "), "test")],
)
def test_a_split_to_audit_is_known_however_it_is_spelled(faces, names, chosen):
    """Rows of training are never audited unasked because the others have a longer name."""
    table = faces.assign(split=[*names, names[1]] * 1000)

    assert default_split(table) == chosen
    assert load_predictions(table, split=default_split(table)).other_splits == 1000


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Training", "holdout"), "training has seen Training"),
        (("train", "val", "Valid"), "val in several ways .Valid, val"),
        (("tune", "fold1"), "training has seen tune"),
    ],
)
def test_rows_that_training_has_seen_are_never_audited_unasked(names, message):
    """A split nobody knows beside one of training is no reason to audit both."""
    with pytest.raises(InputError, match=message):
        choose_split(names)


def test_splits_are_spelled_as_in_the_labels_of_buckets():
    """One table of spellings in two places, because the audit knows nothing of buckets."""
    assert {word: meaning(word) for word in SPLITS} == SPLITS


@pytest.fixture
def imported(faces, tmp_path, monkeypatch):
    """The id of a run that was made from the faces, with two splits."""
    from visrec.config import Settings
    from visrec.runs.import_table import Columns, import_table

    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    run = import_table(faces, Settings.load(dotenv=None), Columns("label"), name="faces")
    run.write_table("predictions.parquet", faces.assign(split=["train", "val", "val"] * 1000))
    return run.id


def test_a_run_is_audited_on_rows_on_which_nothing_was_chosen(imported, capsys):
    """A run needs no columns named: its classes are known, its split is val, its rows are counted."""
    code, out, err = call(capsys, imported, "--by", "race", "--json", "--no-aif360")
    assert code == 0, err
    document = json.loads(out)
    assert document["labels"] == ["no", "yes"]
    assert document["split"] == "val"
    assert document["rows"] == 2000
    code, _, err = call(capsys, imported, "--label", "x")
    assert code == 2
    assert "taken for a run" in err


def test_a_table_with_splits_is_audited_on_rows_training_has_not_seen(faces, tmp_path, capsys):
    """Rows a model was fitted on flatter it; a table is no different from a run in that."""
    path = tmp_path / "split.csv"
    faces.assign(split=["train", "val", "val"] * 1000).to_csv(path, index=False)
    document = json.loads(call(capsys, path, "--by", "race", "--no-aif360", "--json")[1])

    assert (document["split"], document["rows"], document["other_splits"]) == ("val", 2000, 1000)
    assert json.loads(call(capsys, path, "--split", "train", "--no-aif360", "--json")[1])["rows"] == 1000


def test_a_table_can_be_kept_as_a_run_for_the_pages(faces, tmp_path, capsys, monkeypatch):
    """The same rows, under an id that a page can be bookmarked with."""
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "split.csv"
    faces.assign(split=["train", "val", "val"] * 1000).to_csv(path, index=False)
    document = json.loads(call(capsys, path, "--by", "race", "--no-aif360", "--keep", "mine", "--json")[1])
    kept = json.loads(call(capsys, document["kept_as"], "--by", "race", "--no-aif360", "--json")[1])

    assert kept["cells"] == document["cells"]
    assert kept["rows"] == 2000
    assert call(capsys, document["kept_as"], "--keep", "again")[0] == 2


def test_a_kept_table_keeps_its_labels_whatever_its_attributes_are_called(faces, tmp_path, capsys, monkeypatch):
    """A column called label that is no label, and others with names of ours, overwrite nothing."""
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "mine.csv"
    own = {"label": "gender", "prediction": "answer", "age": "label", "file": "image"}
    words = {"prediction": ["p", "q", "r"] * 1000, "file": ["x", "y"] * 1500, "score": ["low", "high"] * 1500}
    faces.drop(columns=["score:no", "score:yes"]).rename(columns=own).assign(**words).to_csv(path, index=False)
    asked = ["--label", "gender", "--prediction", "answer", "--by", "label,race"]
    kept_so = ["--file-column", "image", "--keep", "mine"]
    document = json.loads(call(capsys, path, *asked, *kept_so, "--no-aif360", "--json")[1])
    kept_as = document["kept_as"]
    kept = json.loads(call(capsys, kept_as, "--no-aif360", "--json")[1])

    assert kept["by"] == ["label (column)", "race"]
    assert kept["confusion"] == document["confusion"]
    assert [c["accuracy"] for c in kept["cells"]] == [c["accuracy"] for c in document["cells"]]
    asked = ["--by", "prediction (column),score (column)", "--where", "file (column)=x", "--json", "--no-aif360"]
    assert json.loads(call(capsys, kept_as, *asked)[1])["rows"] == 1500


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_out_of_range_is_a_sentence(table, capsys, seed):
    """Both ends are NumPy's; nobody has to know its traceback."""
    code, out, err = call(capsys, table, "--by", "race", "--seed", seed, "--json")
    assert (code, out) == (2, "")
    assert "The seed is" in err


def test_a_parquet_table_may_hold_embeddings_and_numbered_files(tmp_path, capsys):
    """Lists make no groups and are refused by a sentence when named; files may be numbers."""
    rows = pd.DataFrame({"file": range(40), "label": ["x", "y"] * 20, "prediction": ["x"] * 40})
    rows = rows.assign(embedding=[[0.5, 1.0]] * 40, box=[{"left": 1}] * 40)
    rows.to_parquet(tmp_path / "t.parquet")
    pd.DataFrame({"file": range(40), "g": list("ppqq") * 10}).to_parquet(tmp_path / "g.parquet")
    asked = [tmp_path / "t.parquet", "--attributes", tmp_path / "g.parquet", "--json", "--no-aif360"]
    code, out, _ = call(capsys, *asked, "--scan", "--by", "g")
    assert code == 0
    assert json.loads(out)["subset"]["attributes"] == ["g"]
    for name in ("embedding", "box"):
        code, _, err = call(capsys, *asked, "--by", name)
        assert code == 2
        assert "holds lists or structures" in err
