"""The Runs page: the list, one run in detail, several side by side."""

import time

from tests.pages.conftest import make_run
from visrec.runs.record import rename
from visrec.ui import cached

PAGE = "pages/build/runs.py"


def test_list_names_every_run_newest_first(app, places):
    """With state and accuracy, imported tables included."""
    make_run(places, name="older")
    make_run(places, state="failed", name="newer")
    app.run()
    app.switch_page(PAGE).run()

    table = app.dataframe[0].value
    assert {"older", "newer"} == set(table["name"])
    assert {"finished", "failed"} == set(table["state"])


def test_details_show_settings_and_lineage(app, run):
    """Enough to make the same run again."""
    app.run()
    app.switch_page(PAGE).run()

    settings = next(d.value for d in app.dataframe if "setting" in d.value)
    assert ["bucket", "predicts", "watched groups"] == settings["setting"].tolist()
    assert any("took" in what for d in app.dataframe if "what" in d.value for what in d.value["what"])


def test_rename_and_note_are_kept(app, run):
    """Both are written into the run's record."""
    app.run()
    app.switch_page(PAGE).run()
    app.text_input[0].set_value("a better name")
    app.text_area[0].set_value("for the report")
    next(b for b in app.button if b.label == "Keep").click().run()

    assert "a better name" == run.record["name"]
    assert "for the report" == run.record["note"]


def test_empty_name_is_refused_in_a_sentence(app, run):
    """And the old one stays."""
    app.run()
    app.switch_page(PAGE).run()
    app.text_input[0].set_value(" ")
    next(b for b in app.button if b.label == "Keep").click().run()

    assert any("1 to 80 characters" in e.value for e in app.error)
    assert "drawn" == run.record["name"]


def test_search_narrows_the_list(app, places):
    """By any word of the table; what matches nothing says so."""
    make_run(places, name="older")
    make_run(places, state="failed", name="newer")
    app.run()
    app.switch_page(PAGE).run()
    app.text_input(key="runs_search").set_value("FAILED new").run()
    assert ["newer"] == app.dataframe[0].value["name"].tolist()

    app.text_input(key="runs_search").set_value("nothing like it").run()
    assert not app.exception
    assert any("No run has 'nothing like it'" in c.value for c in app.caption)


def test_a_run_is_deleted_only_after_a_second_press(app, places):
    """The first opens a popover that says what goes; the second does it."""
    run = make_run(places, name="old")
    app.run()
    app.switch_page(PAGE).run()
    assert run.has("run.json")
    app.button(key="train_delete").click().run()

    assert not app.exception
    assert not run.has("run.json")


def test_lineage_names_code_packages_and_seed(app, places):
    """Enough to trace a figure to what made it."""
    make_run(places, lineage={"code": "1+abc", "packages": {"keras": "3.15"}, "seed": 7, "host": "here"})
    app.run()
    app.switch_page(PAGE).run()
    table = next(d.value for d in app.dataframe if "what" in d.value).set_index("what")["value"]

    assert ("1+abc", "3.15", "7", "here") == tuple(table[["code", "keras", "seed", "host"]])


def test_a_damaged_run_is_listed_as_failed_and_can_be_deleted(app, places, run):
    """Its sentence and the button that deletes it; every other run is there as before."""
    broken = make_run(places, name="broken")
    broken.store.write("run.json", b"{")
    app.run()
    app.switch_page(PAGE).run()
    table = app.dataframe[0].value.set_index("name")["state"]
    assert ("finished", "failed") == (table["drawn"], table[broken.id])

    for page in (PAGE, "pages/build/train.py"):
        app.query_params["run"] = broken.id
        app.switch_page(page).run()
        assert not app.exception
    app.switch_page(PAGE).run()
    assert any("record is damaged" in e.value for e in app.error)
    app.button(key="train_delete").click().run()
    assert not broken.has("run.json")


def test_a_rename_from_elsewhere_shows_within_a_minute(run, monkeypatch):
    """Another replica renamed it: the row of a finished run is kept, but not for good."""
    assert ["drawn"] == [row.name for row in cached.run_list()]
    rename(run, "renamed")
    clock = time.monotonic
    monkeypatch.setattr(cached.time, "monotonic", lambda: clock() + cached.ROW_SECONDS + 1)
    cached._run_list.clear()  # the list as a whole is kept for two seconds

    assert ["renamed"] == [row.name for row in cached.run_list()]


def test_an_accuracy_is_named_by_its_split(app, places):
    """Of test, where there is a test split: the figure that the audit shows."""
    make_run(places, metrics={"test_accuracy": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50}, "split": "test"})
    app.run()
    app.switch_page(PAGE).run()

    assert ["0.800"] == [m.value for m in app.metric if m.label == "Accuracy on test"]
