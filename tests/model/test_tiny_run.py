"""A trained run, as the rest of visrec finds it: the folder of DESIGN section 3, and one number everywhere."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from visrec.audit.intervals import wilson
from visrec.model.predict import load_predictor, predict_files


def test_run_folder_holds_what_the_design_names(tiny_run):
    """Other parts, replicas and services read these files by name."""
    files = {o.key for o in tiny_run.store.list()}

    assert {
        "run.json", "status.json", "history.csv", "run.log", "model.keras", "labels.txt", "model/saved_model.pb",
        "model/labels.txt", "predictions.parquet",
    } <= files  # fmt: skip
    assert tiny_run.store.read("model/labels.txt").decode().split() == tiny_run.labels() == ["neutral", "smiling"]
    assert tiny_run.status().ok


def test_predictions_have_the_agreed_columns(tiny_run):
    """The audit needs nothing else than this table."""
    table = tiny_run.predictions()

    assert list(table.columns[:6]) == ["file", "split", "label", "prediction", "score:neutral", "score:smiling"]
    assert {"race", "age", "gender"} <= set(table.columns)
    assert set(table["split"]) == {"train", "tune", "val"}
    scores = table[["score:neutral", "score:smiling"]].to_numpy()
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    assert list(np.array(tiny_run.labels())[scores.argmax(1)]) == list(table["prediction"])


def test_metrics_are_those_of_the_predictions(tiny_run):
    """The headline can be recomputed from the table, with the audit's own interval."""
    table = tiny_run.predictions().query("split == 'val'")
    right = int((table["label"] == table["prediction"]).sum())
    low, high = wilson([right], [len(table)])

    shown = tiny_run.record["metrics"]["val_accuracy"]

    assert shown == pytest.approx({"value": right / len(table), "low": low[0], "high": high[0], "n": len(table)})


def test_history_has_a_row_per_epoch_and_a_column_per_watched_cell(tiny_run):
    """The live page draws these curves."""
    history = tiny_run.history()

    assert list(history["epoch"]) == [1, 2]
    assert {"loss", "accuracy", "tune_loss", "tune_accuracy"} <= set(history.columns)
    cells = [c for c in history.columns if c.startswith("accuracy:race=")]
    assert any(",age=" in c for c in cells)
    assert {f"accuracy:{cell}" for cell in tiny_run.record["watched"]} <= set(history.columns)


def test_lineage_says_from_what_and_on_what(tiny_run):
    """A figure must be traceable to data, code, packages and machine."""
    lineage = tiny_run.record["lineage"]

    assert {"data_fingerprint", "code", "packages", "seed", "host", "device", "engine"} <= set(lineage)
    assert "keras" in lineage["packages"]
    assert set(tiny_run.record["seconds"]) >= {"prepare", "fine_tune", "predict", "export"}


def test_predictor_gives_the_numbers_of_the_table(tiny_run, tiny_settings):
    """An image uploaded later gets the very scores that the audit counted."""
    row = tiny_run.predictions().query("split == 'val'").iloc[0]
    path = tiny_settings.buckets[0] / "tiny" / row["file"]
    predictor = load_predictor(tiny_run, cache=tiny_settings.cache / "engines")

    (answer,) = predict_files(predictor, [path])

    assert answer["prediction"] == row["prediction"]
    assert answer["scores"]["smiling"] == pytest.approx(row["score:smiling"], abs=1e-5)


def test_one_bad_image_does_not_stop_the_others(tiny_run, tiny_settings, tmp_path):
    """A folder with a text file in it is still labelled."""
    good = tiny_settings.buckets[0] / "tiny" / tiny_run.predictions()["file"].iloc[0]
    bad = tmp_path / "notes.jpg"
    bad.write_text("not an image")
    predictor = load_predictor(tiny_run, cache=tiny_settings.cache / "engines")

    answers = list(predict_files(predictor, [bad, good, tmp_path / "absent.jpg"]))

    assert ["error" in a for a in answers] == [True, False, True]


def test_stream_gives_what_a_call_gives(tiny_run, tiny_settings):
    """Explanations compose batches on the way; the probabilities must be the same, in the same order."""
    predictor = load_predictor(tiny_run, cache=tiny_settings.cache / "engines")
    images = np.random.default_rng(0).integers(0, 256, (23, 48, 48, 3)).astype(np.uint8)

    streamed = np.concatenate(list(predictor.predict_stream(images[i : i + 5] for i in range(0, 23, 5))))

    np.testing.assert_array_equal(streamed, predictor(images))


def test_no_secret_is_kept_in_a_run(tiny_run):
    """Run folders are shared; whoever reads one must not learn a key."""
    record = json.dumps(tiny_run.record).lower()

    assert "secret" not in record
    assert "access_key" not in record


def test_history_is_plain_csv(tiny_run):
    """Anyone may read it without visrec."""
    rows = list(csv.DictReader(tiny_run.store.read("history.csv").decode().splitlines()))

    assert len(rows) == len(tiny_run.history())
    assert isinstance(pd.DataFrame(rows), pd.DataFrame)
