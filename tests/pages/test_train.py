"""The Train page: what it starts, and what each state of a run offers next."""

import dataclasses
import os
import time

import pandas as pd
import pytest

from tests.pages.conftest import make_run
from visrec.data.demo import make_tiny_bucket
from visrec.runs.record import open_runs
from visrec.runs.status import Status

PAGE = "pages/build/train.py"


@pytest.fixture
def tiny(places):
    """A small drawn bucket in FairFace's layout."""
    return make_tiny_bucket(places.buckets[0] / "tiny", 40)


@pytest.fixture
def started(monkeypatch, places):
    """What the page asked `visrec.runs.jobs` to start; no process begins."""
    asked = []

    def start(config, settings, run=None, name=None):
        asked.append((config, name))
        return make_run(places, state="queued", name=name or "made")

    monkeypatch.setattr("visrec.runs.jobs.start", start)
    return asked


def labels(app) -> list[str]:
    """What the buttons of the page say."""
    return [b.label for b in app.button]


def test_start_hands_over_exactly_what_was_chosen(app, tiny, started):
    """The page and `visrec train` make the same run of the same choices."""
    app.switch_page(PAGE).run()
    app.radio(key="train_preset").set_value("quick").run()
    app.number_input(key="train_image_size").set_value(64)
    app.text_input(key="train_name").set_value("my run")
    app.number_input(key="train_seed").set_value(7).run()
    app.button(key="train_start").click().run()

    [(config, name)] = started
    assert ("tiny", "expression", "quick", 64, 7) == (
        config.bucket, config.target, config.preset, config.image_size, config.seed,
    )  # fmt: skip
    assert "my run" == name


def test_new_run_comes_into_focus(app, tiny, started):
    """Pressing Start shows that run, with its address in the URL."""
    app.switch_page(PAGE).run()
    app.button(key="train_start").click().run()

    assert any("made" in s.value for s in app.subheader)
    assert "Cancel" in labels(app)


def test_impossible_setting_is_a_sentence_and_no_button(app, tiny, started):
    """A weights file that does not exist is refused before anything starts; so is an impossible number."""
    app.switch_page(PAGE).run()
    app.selectbox(key="train_weights").set_value("file").run()
    app.text_input(key="train_weights_path").set_value("/nowhere/weights.h5").run()

    assert not app.exception
    assert "Start training" not in labels(app)
    assert any("/nowhere/weights.h5" in e.value for e in app.error)


@pytest.mark.parametrize(
    ("state", "offers"),
    [
        ("queued", "Cancel"), ("running", "Cancel"), ("cancelled", "Resume"), ("failed", "Resume"), ("lost", "Resume"),
    ],
)  # fmt: skip
def test_every_state_has_its_next_action(app, places, state, offers):
    """A run is never a dead end."""
    run = make_run(places, state="running" if state == "lost" else state)
    if state == "lost":
        run.write_status(dataclasses.replace(run.status(), heartbeat=time.time() - 60))
        os.utime(run.store.local_path("status.json"), (time.time() - 60, time.time() - 60))
    app.switch_page(PAGE).run()

    assert not app.exception
    assert offers in labels(app)


def test_live_panel_shows_curves_groups_and_log(app, places):
    """Whom the model fails can be seen while it trains, with the counts that say how little that may mean."""
    run = make_run(places, state="running", watched={"race=Black": 40, "race=White": 60, "age=3-9": 4})
    run.write_table(
        "history.csv",
        pd.DataFrame(
            {
                "stage": "fine_tune", "epoch": [1, 2], "loss": [0.7, 0.5], "tune_loss": [0.7, 0.6],
                "accuracy": [0.5, 0.8], "tune_accuracy": [0.5, 0.8], "accuracy:race=Black": [0.4, 0.5],
                "accuracy:race=White": [0.6, 0.9], "accuracy:age=3-9": [0.0, 0.0],
            }
        ),
    )  # fmt: skip
    run.update(estimate={"fine_tune": 100.0, "predict": 30.0}, lineage={"device": "CPU (2 cores)", "host": "here"})
    now = {"heartbeat": time.time(), "started": time.time(), "memory": 1_500_000_000}
    run.write_status(Status("running", "fine_tune", 0.5, "Epoch 2", stage_progress=0.4, stage_left=60.0, **now))
    app.switch_page(PAGE).run()

    assert 3 == len(app.get("plotly_chart"))
    said = "\n".join(c.value for c in app.caption).replace("\\", "")
    assert "Worst cell: Black, 0.50 (n = 40, 0.35 to 0.65)" in said
    assert "1 of 3 groups have fewer than 20 images" in said
    assert "CPU (2 cores) on here · 1.5 GB of memory in use" in said
    assert "about 1 min 30 s left in all" in said


def test_weights_note_is_shown(app, places):
    """A run that went on from random weights says so where its figures are."""
    make_run(places, state="running", weights_note="ImageNet weights could not be reached; random ones, as allowed.")
    app.switch_page(PAGE).run()

    assert any("could not be reached" in c.value for c in app.caption)


def test_cancel_that_comes_too_late_is_a_sentence(app, places, monkeypatch):
    """Between drawing the button and pressing it the run may have ended."""
    run = make_run(places, state="running")
    app.switch_page(PAGE).run()
    run.write_status(dataclasses.replace(run.status(), state="done", finished_at=time.time()))
    app.button(key="train_cancel").click().run()

    assert not app.exception
    assert any("only a run that is queued or running" in e.value for e in app.error)


def test_the_time_it_will_take_is_said_with_what_that_rests_on(app, tiny, started):
    """From past runs of this machine where there are some, else from a probe; longer with more passes."""
    app.switch_page(PAGE).run()
    said = "\n".join(m.value for m in app.markdown)
    assert "from a short probe of this machine" in said
    assert "fine-tune" in said

    app.radio(key="train_preset").set_value("quick").run()
    assert "8 passes of fine-tuning" in "\n".join(m.value for m in app.markdown)


def test_a_model_of_ones_own_is_imported_by_a_process_of_its_own(app, tiny, places, monkeypatch):
    """The form hands over what `visrec import-model` takes; the run that appears comes into focus."""
    asked = []

    class Ended:
        def poll(self):
            return 0

    def start(path, settings, labels, **options):
        asked.append((path.name, path.read_bytes(), labels, options))
        record = {"kind": "imported-model", "labels": labels}
        run = open_runs(places).create(record, "brought", run_id=options["run_id"])
        run.write_status(Status("done", heartbeat=time.time()))
        make_run(places, name="another visitor's", kind="imported-model")
        return Ended()

    monkeypatch.setattr("visrec.model.import_model.start", start)
    app.switch_page(PAGE).run()
    app.file_uploader(key="model_upload").upload("m.keras", b"bytes", "application/octet-stream")
    app.text_input(key="model_labels").set_value("neutral, smiling")
    app.selectbox(key="model_scale").set_value("-1..1").run()
    app.button(key="model_go").click().run()

    [(name, data, labels, options)] = asked
    assert ("m.keras", b"bytes", ["neutral", "smiling"]) == (name, data, labels)
    assert ("-1..1", "tiny", "expression", None, False) == tuple(
        options[key] for key in ("scale", "bucket", "target", "size", "logits")
    )
    assert not app.exception
    assert any("brought" in s.value for s in app.subheader)
    assert not any("another" in s.value for s in app.subheader)


def test_a_model_that_is_refused_is_a_sentence(app, tiny, monkeypatch):
    """What the process said last, and no run."""

    def start(path, settings, labels, **options):
        (path.parent / "import.err").write_text("a warning\nvisrec: 'm.keras' holds the layer Lambda.\n")
        return type("Ended", (), {"poll": lambda self: 2})()

    monkeypatch.setattr("visrec.model.import_model.start", start)
    app.switch_page(PAGE).run()
    app.file_uploader(key="model_upload").upload("m.keras", b"bytes", "application/octet-stream")
    app.text_input(key="model_labels").set_value("a, b").run()
    app.button(key="model_go").click().run()

    assert not app.exception
    assert any("holds the layer Lambda" in e.value for e in app.error)


def test_the_order_of_the_queue_is_visible(app, tiny, places):
    """Who waits sees for how many."""
    for name, position in (("first", 1), ("second", 2)):
        run = make_run(places, state="queued", name=name)
        run.write_status(dataclasses.replace(run.status(), position=position))
    app.switch_page(PAGE).run()
    shown = [m.value for m in app.markdown if "waiting for its turn" in m.value]

    assert any("second" in text and "2 before it" in text for text in shown)
    assert any("first" in text and "1 before it" in text for text in shown)
