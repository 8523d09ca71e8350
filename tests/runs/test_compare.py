"""Two runs compared, from the command line and as a document."""

import json

import numpy as np
import pandas as pd
import pytest

from visrec import cli
from visrec.config import Settings
from visrec.runs.record import open_runs
from visrec.runs.status import Status


@pytest.fixture
def places(tmp_path, monkeypatch) -> Settings:
    """An empty place for runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"VISREC_{name}", str(tmp_path / name.lower()))
    return Settings.load(dotenv=None)


def finished(settings, name, share, *, rows=600, files="val/{}.jpg", **kept):
    """A finished run that answers ``share`` of the images rightly."""
    record = {"kind": "trained", "bucket": "b", "target": "t", "by": ["race"], "settings": {"seed": 0, **kept}}
    run = open_runs(settings).create(record, name)
    run.write_status(Status("done"))
    right = np.random.default_rng(len(name)).random(rows) < share
    table = pd.DataFrame({"file": [files.format(i) for i in range(rows)], "split": "val", "label": "yes"})
    table["prediction"], table["race"] = np.where(right, "yes", "no"), np.where(np.arange(rows) % 3, "x", "y")
    run.write_table("predictions.parquet", table)
    return run


def test_json_says_who_is_better_for_whom_and_what_differs(places, capsys):
    """One document: sentence, overall, cells, what was left out, settings that are not alike."""
    finished(places, "old", 0.7, alpha=0.5), finished(places, "new", 0.9, alpha=1.0)

    assert cli.run(["compare", "old", "new", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert "new is better overall" in found["sentence"]
    assert ["supported", "supported"] == [cell["verdict"] for cell in found["cells"]]
    assert {"x", "y"} == {cell["race"] for cell in found["cells"]}
    assert ({"alpha": [0.5, 1.0]}, 600, []) == tuple(found[k] for k in ("settings", "rows", "skipped"))


def test_people_get_the_sentence_and_a_table(places, capsys):
    """In points, with the rows that could not be paired."""
    finished(places, "old", 0.7), finished(places, "other", 0.7, rows=650)

    assert cli.run(["compare", "old", "other", "--by", ""]) == 0
    shown = capsys.readouterr().out

    assert "cannot tell" in shown
    assert "Left out: 50 in the second table alone" in shown


def test_small_groups_are_null_in_json_and_counted_for_people(places, capsys):
    """No p where no test was made."""
    finished(places, "old", 0.7), finished(places, "new", 0.9)
    options = ["compare", "old", "new", "--min-count", "300"]
    cli.run([*options, "--json"])
    found = json.loads(capsys.readouterr().out)

    assert [None] == [c["p_holm"] for c in found["cells"] if c["race"] == "y"]
    assert cli.run(options) == 0
    assert "Too few images (under 300) in 1 more groups" in capsys.readouterr().out


def test_runs_of_the_same_name_are_told_apart_by_their_ids(places, capsys):
    """Else the sentence would name the same one twice."""
    a, b = finished(places, "x", 0.6), finished(places, "x", 0.6)
    cli.run(["compare", a.id, b.id, "--json"])

    assert f"({b.id[-4:]})" in json.loads(capsys.readouterr().out)["sentence"]


@pytest.mark.parametrize("files", ["other/{}.jpg", None])
def test_runs_that_cannot_be_compared_end_in_a_sentence(places, capsys, files):
    """Other images, or no predictions: exit code 2."""
    finished(places, "old", 0.7)
    if files:
        finished(places, "new", 0.7, files=files)
    else:
        open_runs(places).create({"kind": "trained"}, "new").write_status(Status("failed"))

    assert cli.run(["compare", "old", "new"]) == 2
    assert ("no image in common" if files else "no predictions") in capsys.readouterr().err


def test_a_run_is_not_compared_with_itself(places, capsys):
    """A slip of the hand, which would look like a finding."""
    finished(places, "old", 0.7)

    assert cli.run(["compare", "old", "latest"]) == 2
    assert "named twice" in capsys.readouterr().err


def test_an_attribute_named_twice_makes_its_groups_once(places, capsys):
    """A slip of the hand is no fault of the program."""
    finished(places, "old", 0.7), finished(places, "new", 0.9)

    assert cli.run(["compare", "old", "new", "--by", "race,race", "--json"]) == 0
    assert ["x", "y"] == [cell["race"] for cell in json.loads(capsys.readouterr().out)["cells"]]


@pytest.mark.parametrize("name", ["label", "file", "prediction", "split", "score:yes"])
def test_columns_that_are_no_attributes_are_refused_with_those_that_are(places, capsys, name):
    """Groups by the answer, or by the file, say nothing of a model."""
    finished(places, "old", 0.7), finished(places, "new", 0.9)

    assert cli.run(["compare", "old", "new", "--by", name]) == 2
    assert f"'{name}' is no attribute to group by; the attributes are: race." in capsys.readouterr().err


def test_where_nothing_is_watched_the_first_two_attributes_make_the_groups(places, capsys):
    """As the page offers them: one rule for both."""
    for name, share in (("old", 0.7), ("new", 0.9)):
        finished(places, name, share).update(by=[], attributes=["race"])

    assert cli.run(["compare", "old", "new", "--json"]) == 0
    assert {"x", "y"} == {cell["race"] for cell in json.loads(capsys.readouterr().out)["cells"]}
