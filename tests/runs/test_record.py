"""The record of a run, in a folder and in a bucket alike."""

import json

import pandas as pd
import pytest

from visrec.cli import run as visrec
from visrec.errors import InputError, NotFoundError
from visrec.runs.record import Runs, new_id, note, rename
from visrec.runs.status import Status
from visrec.storage.folder import FolderStore


class RemoteStore(FolderStore):
    """A folder that, like a bucket, has no paths on this machine."""

    def local_path(self, key):
        return None

    def sub(self, prefix):
        return RemoteStore(self.root / prefix, create=True)


@pytest.fixture(params=[FolderStore, RemoteStore], ids=["folder", "remote"])
def runs(request, tmp_path):
    """No runs yet."""
    return Runs(request.param(tmp_path / "runs", create=True), tmp_path / "cache")


def make(runs, **values):
    """A finished run."""
    run = runs.create({"kind": "trained", "bucket": "b", "target": "t", **values})
    run.write_status(Status("done"))
    return run


def test_new_runs_are_listed_first(runs, monkeypatch):
    """Ids sort by time, so that a list needs no record to be read."""
    first, second = make(runs), make(runs)

    assert {r.id for r in runs.list()} == {first.id, second.id}
    assert runs.ids() == sorted(runs.ids(), reverse=True)


def test_listing_reads_no_predictions(runs):
    """A hundred runs must be listed in the time of a hundred small files."""
    make(runs).store.write("predictions.parquet", b"not read")

    assert [r.status().state for r in runs.list()] == ["done"]


def test_a_run_is_found_by_id_name_start_and_latest(runs):
    """People type names, scripts type ids."""
    run = make(runs)
    rename(run, "my faces")

    assert {runs.open(key).id for key in (run.id, "my faces", run.id[:17], "latest")} == {run.id}


def test_an_unknown_run_names_the_nearest(runs):
    """After a mistyped name the message shows the right one."""
    rename(make(runs), "faces")

    with pytest.raises(NotFoundError, match="Did you mean 'faces'"):
        runs.open("facse")


def test_an_ambiguous_name_is_refused(runs):
    """Cancelling the wrong run would be worse than asking."""
    for run in (make(runs), make(runs)):
        rename(run, "twin")

    with pytest.raises(InputError, match="could be any of"):
        runs.open("twin")


def test_delete_leaves_nothing_and_refuses_a_live_run(runs):
    """A run that is training cannot be pulled from under its process."""
    run = make(runs)
    run.store.write("model/variables/x", b"1")
    live = runs.create({"kind": "trained"})
    live.write_status(Status("running", heartbeat=2e12))

    runs.delete(run)
    with pytest.raises(InputError, match="cancel it first"):
        runs.delete(live)

    assert runs.ids() == [live.id]
    assert not list(run.store.list())


def test_what_a_killed_process_left_half_written_is_deleted_as_well(runs):
    """A store hides such a part; the folder of the run must go all the same."""
    run = make(runs)
    if (path := run.store.local_path("run.json")) is None:
        pytest.skip("a remote store keeps no half-written objects")
    folder = path.parent
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / ".visrec-partial-1-last.npz").write_bytes(b"half")

    runs.delete(run)

    assert not folder.exists()


def test_notes_and_names_keep_the_rest_of_the_record(runs):
    """Renaming must not lose the settings."""
    run = make(runs, settings={"seed": 3})
    note(run, " looked at by M. ")
    rename(run, "x")

    assert (run.record["note"], run.record["name"], run.record["settings"]) == ("looked at by M.", "x", {"seed": 3})


def test_a_rename_in_the_moment_a_run_ends_loses_no_figures(runs, monkeypatch):
    """The process that trains writes the record, a page the name: neither may undo what the other wrote."""
    run = make(runs, settings={"seed": 3})
    write = run.write_json

    def write_late(name, value):
        monkeypatch.undo()
        run.update(metrics={"val_accuracy": {"value": 0.9}})  # between the page's reading and its writing
        write(name, value)

    monkeypatch.setattr(run, "write_json", write_late)
    rename(run, "x")

    assert ("x", {"val_accuracy": {"value": 0.9}}) == (run.name, run.record["metrics"])
    run.update(metrics={})
    assert "x" == run.name


def test_a_name_kept_in_the_record_itself_is_still_read(runs):
    """As every version before kept it."""
    run = make(runs, name="old", note="seen")

    assert ("old", "seen") == (run.name, run.record["note"])


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe", b"null", b"[]"])
@pytest.mark.parametrize("name", ["run.json", "status.json", "title.json"])
def test_a_damaged_run_hides_no_other_and_can_be_deleted(runs, name, damage):
    """A disk that was full left half a file: the others are found by their names, and this one can go."""
    whole, broken = make(runs), make(runs)
    rename(whole, "whole")
    broken.store.write(name, damage)

    assert whole.id == runs.open("whole").id
    if name == "status.json":
        assert "failed" == broken.status().state
        assert "restore it or delete the run" in broken.status().message
    else:
        with pytest.raises(InputError, match="restore it or delete the run"):
            broken.record  # noqa: B018
    runs.delete(broken)
    assert [whole.id] == runs.ids()


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 81])
def test_a_name_that_cannot_be_shown_is_refused(runs, name):
    """Names stand in tables and menus."""
    with pytest.raises(InputError, match="1 to 80 characters"):
        rename(make(runs), name)


def test_files_and_folders_get_a_path_on_this_machine(runs, tmp_path):
    """Keras loads from paths; for a run in a bucket they are fetched, and fetched anew when they change."""
    run = make(runs)
    folder = tmp_path / "made"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"1")
    (folder / "variables" / "v").write_bytes(b"2")
    run.put_folder(folder, "model", last="saved_model.pb")

    path = run.local("model")
    assert ((path / "saved_model.pb").read_bytes(), (path / "variables" / "v").read_bytes()) == (b"1", b"2")
    run.store.write("model/saved_model.pb", b"changed")

    assert (run.local("model") / "saved_model.pb").read_bytes() == b"changed"
    with pytest.raises(NotFoundError, match="has no 'absent'"):
        run.local("absent")


def test_tables_come_back_as_they_were(runs):
    """Predictions and history are the run's results."""
    run = make(runs)
    table = pd.DataFrame({"file": ["a"], "score:x": [0.5]})
    run.write_table("predictions.parquet", table)
    run.write_table("history.csv", pd.DataFrame({"epoch": [1], "loss": [0.25]}))

    pd.testing.assert_frame_equal(run.predictions(), table)
    assert run.history().to_dict("list") == {"epoch": [1], "loss": [0.25]}


def test_a_run_without_results_says_in_which_state_it_is(runs):
    """The page shows this sentence instead of an empty chart."""
    run = make(runs)

    with pytest.raises(NotFoundError, match="no predictions yet"):
        run.predictions()
    assert run.history().empty
    assert run.log() == ""


def test_an_id_given_is_used_once(runs):
    """Whoever must know the run before it is there names it; never two of one name, nor a path."""
    wanted = new_id()

    assert wanted == runs.create({"kind": "trained"}, run_id=wanted).id
    for other in (wanted, "../elsewhere"):
        with pytest.raises(InputError, match="cannot be the id of a new run"):
            runs.create({"kind": "trained"}, run_id=other)


def test_an_unknown_kind_is_refused(runs):
    """Other parts look at the kind to decide what can be done with a run."""
    with pytest.raises(InputError, match="kind is one of"):
        runs.create({"kind": "guessed"})


def test_the_record_is_json(runs):
    """Anyone may read it without visrec."""
    run = make(runs, settings={"by": ("a",)})

    assert json.loads(run.store.read("run.json"))["settings"] == {"by": ["a"]}


def test_a_damaged_record_is_listed_as_failed_beside_the_others(tmp_path, monkeypatch, capsys):
    """`visrec runs` names it with its reason; one run must not take all of them down."""
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VISREC_CACHE", str(tmp_path / "cache"))
    runs = Runs(FolderStore(tmp_path / "runs", create=True), tmp_path / "cache")
    whole, broken = make(runs, metrics={"test_accuracy": {"value": 0.75}, "split": "test"}), make(runs)
    broken.store.write("run.json", b"{")

    assert 0 == visrec(["runs", "--json"])
    listed = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert ("done", {"value": 0.75, "split": "test"}) == (listed[whole.id]["state"], listed[whole.id]["accuracy"])
    assert "failed" == listed[broken.id]["state"]
    assert "record is damaged" in listed[broken.id]["message"]
    assert 0 == visrec(["runs"])
    shown = capsys.readouterr().out
    assert "0.750 (test)" in shown
    assert "record is damaged" in shown
    assert 0 == visrec(["delete", broken.id, "--yes"])
    assert [whole.id] == runs.ids()
