"""Tests for visrec.runs.import_table: a table becomes a run that audits as the table itself."""

import numpy as np
import pandas as pd
import pytest

from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions
from visrec.config import Settings
from visrec.errors import InputError, NotFoundError
from visrec.runs.import_table import Columns, fit_prefix, guess_columns, import_table
from visrec.runs.record import open_runs

COLUMNS = Columns(label="truth", prediction="answer", attributes=("race",))


@pytest.fixture
def settings(tmp_path) -> Settings:
    for name in ("buckets", "runs", "cache"):
        (tmp_path / name).mkdir()
    return Settings(buckets=(tmp_path / "buckets",), runs=str(tmp_path / "runs"), cache=tmp_path / "cache")


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    truth = rng.choice(["no", "yes"], 300)
    hit = rng.random(300) < 0.8
    return pd.DataFrame(
        {
            "file": [f"set/val/{i}.jpg" for i in range(300)],
            "truth": truth,
            "answer": np.where(hit, truth, np.where(truth == "no", "yes", "no")),
            "certainty": rng.uniform(0, 1, 300),
            "race": rng.choice(["a", "b", "c"], 300),
        }
    )


def test_figures_of_the_run_are_those_of_the_table(table, settings, tmp_path):
    """Importing must not change one figure: the audit of the run equals the audit of the file."""
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    run = import_table(path, settings, COLUMNS)

    direct = audit(load_predictions(path, label="truth", prediction="answer", attributes=["race"]), by="race")
    kept = audit(
        load_predictions(run.predictions(), attributes=["race"], labels=run.labels()), by=run.record["attributes"]
    )

    assert direct.to_json(aif360=False) == kept.to_json(aif360=False) | {"notes": direct.to_json(aif360=False)["notes"]}


def test_the_run_is_listed_finished_and_named(table, settings, tmp_path):
    """It has an id to bookmark, the file's name, and is done at once."""
    path = tmp_path / "mine.parquet"
    table.to_parquet(path)
    made = import_table(path, settings, COLUMNS)

    [run] = open_runs(settings).list()
    assert made.id == run.id
    assert ("mine", "imported-table", "done") == (run.name, run.record["kind"], run.status().state)
    assert ["race"] == run.record["attributes"]


def test_a_single_score_becomes_one_column_per_class(table, settings):
    """What every run's predictions have: score:<class>, which sum to 1."""
    columns = Columns("truth", "answer", scores=("certainty",), score_class="yes", attributes=("race",))
    kept = import_table(table, settings, columns).predictions()

    assert np.allclose(table["certainty"], kept["score:yes"])
    assert np.allclose(1, kept["score:yes"] + kept["score:no"])


def test_numbers_become_groups(table, settings):
    """An attribute of numbers is kept as its bins, so that slicers and audits read the same words."""
    table["age"] = np.arange(300) % 80
    columns = Columns("truth", "answer", attributes=("race", "age"), bins={"age": [0, 20, 40]})

    assert {"0 to <20", "20 to <40", "40 and more"} == set(import_table(table, settings, columns).predictions()["age"])


def test_rows_that_contradict_are_left_out_and_told(table, settings):
    """The same file with two answers: neither counts, and the record says so."""
    twice = table.iloc[[0]].assign(answer="yes" if table.loc[0, "answer"] == "no" else "no")
    run = import_table(pd.concat([table, twice]), settings, COLUMNS)

    assert 299 == len(run.predictions())
    assert any("contradicting" in s["reason"] for s in run.record["skipped"])


def test_names_are_fitted_to_the_bucket(table, settings):
    """The table says set/val/1.jpg, the bucket holds val/1.jpg: the gallery must find it."""
    folder = settings.buckets[0] / "faces" / "val"
    folder.mkdir(parents=True)
    for i in range(40):
        (folder / f"{i}.jpg").write_bytes(b"x")
    run = import_table(table, settings, COLUMNS, images="faces")

    assert "val/0.jpg" == run.predictions()["file"][0]
    assert "faces" == run.record["bucket"]


def test_a_bucket_without_any_of_the_images_is_refused(table, settings):
    """Two names side by side say at once what does not fit; nothing is written."""
    (settings.buckets[0] / "mugs").mkdir()
    (settings.buckets[0] / "mugs" / "cup.jpg").write_bytes(b"x")

    with pytest.raises(InputError, match=r"set/val/0\.jpg.*'cup\.jpg'"):
        import_table(table, settings, COLUMNS, images="mugs")
    assert [] == open_runs(settings).list()


def test_a_missing_column_is_named_with_the_nearest(table, settings):
    """The message lists what there is."""
    with pytest.raises(NotFoundError, match="Did you mean 'truth'"):
        import_table(table, settings, Columns("trut", "answer"))


def test_guess_never_takes_one_column_twice():
    """Whatever the names, label and prediction are two columns."""
    guess = guess_columns(["id", "gender", "pred_gender", "age"])

    assert ("gender", "pred_gender") == (guess.label, guess.prediction)


@pytest.mark.parametrize(
    ("names", "keys", "expected"),
    [
        (["a/b/1.jpg"], {"b/1.jpg"}, (1, "")),
        (["/data/a/1.jpg"], {"1.jpg"}, (3, "")),
        (["1.jpg"], {"x/y/1.jpg"}, (0, "x/y/")),
        (["val/1.jpg"], {"val/1.jpg", "train/1.jpg"}, (0, "")),
    ],
)
def test_prefixes(names, keys, expected):
    """The longest ending that agrees wins."""
    assert expected == fit_prefix(names, keys)[:2]


def test_a_table_too_large_for_the_pages_is_refused_before_it_is_read(settings, tmp_path, monkeypatch):
    """One sentence: the limit, why, and the command that has none; nothing heavy is done first."""
    from visrec.audit import predictions, sources

    monkeypatch.setattr(predictions, "KEEP_ROWS", 100)
    monkeypatch.setattr(sources.Source, "batches", lambda *a, **k: pytest.fail("the table was read"))
    path = tmp_path / "large.parquet"
    pd.DataFrame({"truth": ["a", "b"] * 100, "answer": ["a"] * 200, "race": ["x"] * 200}).to_parquet(path)

    with pytest.raises(InputError, match=r"has 200 rows; up to 100 can be kept as a run.*visrec audit TABLE"):
        import_table(path, settings, COLUMNS)
    assert not open_runs(settings).list()


def test_the_upload_page_says_the_limit():
    """The page's number is the reader's."""
    from visrec.audit.predictions import KEEP_ROWS
    from visrec.ui import import_view

    assert KEEP_ROWS == import_view.MOST_ROWS


def test_pages_split_by_what_was_asked_and_never_by_the_label_itself(table, settings):
    """Whoever kept a table by race wants race; nobody wants gender's answers split by gender at first."""
    columns = Columns(label="truth", prediction="answer", attributes=("truth", "race"))

    assert ["race"] == import_table(table, settings, columns).record["by"]
    assert ["truth", "race"] == import_table(table, settings, columns, by=["truth", "race"]).record["by"]


def test_the_headline_is_named_by_its_split(table, settings):
    """The rows counted are those of test where there are some, and the key says so."""
    from visrec.runs.record import headline

    table["split"] = np.where(np.arange(300) % 3, "val", "test")
    record = import_table(table, settings, COLUMNS).record

    assert {"test_accuracy", "split"} == set(record["metrics"])
    assert ("test", 100) == (headline(record)["split"], headline(record)["n"])
    assert {"accuracy", "split"} == set(import_table(table.drop(columns="split"), settings, COLUMNS).record["metrics"])
