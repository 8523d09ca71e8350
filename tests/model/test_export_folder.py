"""The folder of an export holds the model and nothing else."""

import pytest

from visrec import cli
from visrec.errors import InputError
from visrec.model import export
from visrec.runs.record import Runs
from visrec.runs.status import Status
from visrec.storage.folder import FolderStore


@pytest.fixture
def make(tmp_path):
    """A function that makes a run of a model brought along as TFLite, with these classes."""

    def made(*labels):
        record = {"kind": "imported-model", "labels": list(labels), "tflite": {"scale": "0..1", "logits": False}}
        run = Runs(FolderStore(tmp_path / "runs", create=True), tmp_path / "cache").create(record)
        run.write_status(Status("done"))
        run.store.write("model.tflite", b"model")
        return run

    return made


def test_an_export_may_be_repeated_and_never_lands_among_other_things(make, tmp_path):
    """Whoever ships the folder would ship what lay there, too; nothing is overwritten that is not an export."""
    run, folder = make("a", "b"), tmp_path / "out"

    for _ in range(2):
        assert [folder / "model.tflite", folder / "labels.txt"] == export.copy_out(run, "tflite", folder)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other things \(thesis\.tex\); name a folder that is new or empty"):
        export.copy_out(run, "tflite", folder)


class Elsewhere(FolderStore):
    """A store whose files are not on this machine."""

    def local_path(self, key):
        """Nowhere."""
        return

    def sub(self, prefix):
        """As far away."""
        return Elsewhere(self.root / prefix, create=True)


def test_the_marks_of_fetched_files_are_not_exported(tmp_path):
    """A run in a bucket is fetched first; what says how fresh a copy is belongs to us, not into a model's folder."""
    runs = Runs(Elsewhere(tmp_path / "runs", create=True), tmp_path / "cache")
    run = runs.create({"kind": "trained", "labels": ["a", "b"]})
    run.write_status(Status("done"))
    for name in ("saved_model.pb", "labels.txt", "variables/variables.index"):
        run.store.write(f"model/{name}", b"a\nb\n")

    for _ in range(2):
        export.copy_out(run, "savedmodel", tmp_path / "out")

    assert not list((tmp_path / "out").rglob("*.etag"))
    assert (tmp_path / "out" / "variables" / "variables.index").is_file()


def test_two_models_are_not_mixed_in_one_folder(make, tmp_path):
    """The labels of one beside the file of another would name every answer wrongly."""
    export.copy_out(make("a", "b"), "tflite", tmp_path / "out")

    with pytest.raises(InputError, match="a model of other classes"):
        export.copy_out(make("b", "a"), "tflite", tmp_path / "out")


def test_a_file_in_place_of_the_folder_is_a_sentence(make, tmp_path, monkeypatch, capsys):
    """Exit code 2, as for any slip of the hand."""
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    make("a", "b")
    (tmp_path / "model.tflite").write_bytes(b"kept")

    assert 2 == cli.run(["export", "latest", "--format", "tflite", "-o", str(tmp_path / "model.tflite")])
    assert "is a file; name a folder" in capsys.readouterr().err
    assert b"kept" == (tmp_path / "model.tflite").read_bytes()
