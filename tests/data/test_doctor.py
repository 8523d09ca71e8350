"""Tests for visrec.data.doctor: every planted fault is named, none is invented, the bucket is left alone."""

import json
import time
import zipfile

import pytest

from tests.data.conftest import clean_rows, encoded, make_clean, photo, write_table
from visrec.cli import run
from visrec.data import scan as scan_module
from visrec.data.decisions import save_decisions
from visrec.data.doctor import inspect
from visrec.data.layouts import read_bucket
from visrec.data.problems import SEVERITIES
from visrec.errors import AccessError, InputError, NotFoundError, OutsideError, RunError
from visrec.storage.folder import FolderStore
from visrec.storage.zipped import open_zip


@pytest.fixture(scope="module")
def faulty(faulty_bucket):
    return inspect(faulty_bucket[0]), faulty_bucket[1]


def test_every_planted_fault_is_named_with_an_example(faulty):
    """At least 25 kinds, each with the object or value it was planted in."""
    inspection, planted = faulty
    found = {p.kind: p for p in inspection.problems}

    assert len(planted) >= 25
    assert set(planted) <= set(found), set(planted) - set(found)
    for kind, example in planted.items():
        assert any(example in shown for shown in found[kind].examples), (kind, found[kind].examples)


def test_no_fault_is_invented(faulty):
    """What is named was planted."""
    inspection, planted = faulty

    assert set(planted) == {p.kind for p in inspection.problems}


def test_every_problem_says_what_to_do(faulty):
    """Severity, count, advice in sentences; gravest first."""
    problems = faulty[0].problems

    assert all(p.advice.endswith(".") and p.count >= 1 and p.examples for p in problems)
    order = [SEVERITIES.index(p.severity) for p in problems]
    assert order == sorted(order)


def test_clean_bucket_has_no_problems(clean_bucket):
    """None at all."""
    assert [] == inspect(clean_bucket).problems


def test_bucket_is_left_alone(clean_bucket, tmp_path):
    """Not a file more, not a byte changed."""
    before = list(clean_bucket.list())
    inspect(clean_bucket, cache_dir=tmp_path)

    assert before == list(clean_bucket.list())


def test_second_look_reads_only_what_changed(tmp_path, clean_bucket):
    """Facts are kept by name and ETag."""

    class Counting(FolderStore):
        asked: list = []

        def read(self, key):
            if key.endswith(".jpg"):
                self.asked.append(key)
            return super().read(key)

    store = Counting(clean_bucket.root)
    first = inspect(store, cache_dir=tmp_path)
    asked = len(store.asked)
    again = inspect(store, cache_dir=tmp_path)

    assert asked == len(first.facts) == len(store.asked)
    assert first.facts.equals(again.facts)


def test_an_image_that_breaks_the_decoder_is_named_unreadable(clean_bucket, monkeypatch):
    """The look goes on, and the note says what happened."""
    broken = clean_bucket.read("train/7.jpg")

    def breaking(data, read=scan_module.read_header):
        if data == broken:
            raise AttributeError("'NoneType' object has no attribute 'seek'")
        return read(data)

    monkeypatch.setattr(scan_module, "read_header", breaking)
    inspection = inspect(clean_bucket)

    assert ["train/7.jpg"] == next(p.examples for p in inspection.problems if p.kind == "unreadable")
    assert "AttributeError: 'NoneType'" in inspection.facts.at["train/7.jpg", "note"]


def test_images_of_an_encrypted_zip_are_named_not_unpacked_and_asked_for_again(tmp_path):
    """Every image unusable is an error of its own, not a class that is rare; nothing of it is kept."""
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for label in ("cat", "dog"):
            for n in range(3):
                archive.writestr(f"{label}/{n}.jpg", encoded(photo(n)))
    locked = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # local and central headers: the flag "encrypted"
        at = -1
        while (at := locked.find(signature, at + 1)) >= 0:
            locked[at + offset] |= 1
    path.write_bytes(locked)
    inspection = inspect(open_zip(path), cache_dir=tmp_path / "cache")
    looks = []
    inspect(open_zip(path), cache_dir=tmp_path / "cache", progress=lambda done, total: looks.append(done))

    assert {"not_unpacked": 6} == {p.kind: p.count for p in inspection.problems if p.severity == "error" and
                                   p.kind not in ("too_few_images",)}  # fmt: skip
    assert 0 == looks[0]


def test_images_that_went_away_after_the_listing_are_named(clean_bucket, tmp_path):
    """Listed and not there is a problem, and is not remembered: the next look asks for them again."""

    class Forgetful(FolderStore):
        def read(self, key):
            if key == "train/7.jpg":
                raise NotFoundError(f"There is no '{key}'.")
            return super().read(key)

    first = inspect(Forgetful(clean_bucket.root), cache_dir=tmp_path)
    later = inspect(clean_bucket, cache_dir=tmp_path)

    assert [("missing_file", ["train/7.jpg"])] == [(p.kind, p.examples) for p in first.problems]
    assert [] == later.problems


@pytest.mark.parametrize(("error", "most"), [(OutsideError, 21), (AccessError, 21)])
def test_a_look_is_given_up_when_the_store_fails_for_everything(clean_bucket, error, most):
    """A hundred thousand images, each tried for minutes, would take days; a refused key is most likely so for all."""
    seen = []

    class Failing(FolderStore):
        def read(self, key):
            if key.endswith(".jpg"):
                raise error("The store is down.")
            return super().read(key)

    with pytest.raises(error, match="is down"):
        inspect(Failing(clean_bucket.root), progress=lambda done, total: seen.append(done))
    assert len(seen) == most


def test_single_images_that_the_store_does_not_give_do_not_end_the_look(clean_bucket):
    """Twenty may fail, wherever they lie."""

    class Failing(FolderStore):
        def read(self, key):
            if key.startswith("train/1") and key.endswith("0.jpg"):
                raise OutsideError("The line was cut.")
            return super().read(key)

    assert ["unread"] == [p.kind for p in inspect(Failing(clean_bucket.root)).problems]


@pytest.mark.parametrize(("wish", "words"), [({"target": "lable"}, "'label'"), ({"by": ["sight", "site"]}, "'site'")])
def test_a_column_that_is_not_there_is_refused_with_the_nearest(clean_bucket, wish, words):
    """Before any image is looked at, instead of silently checking less."""
    seen = []
    with pytest.raises(InputError, match=rf"There is no column '{'lable' if 'target' in wish else 'sight'}'.*{words}"):
        inspect(clean_bucket, progress=lambda done, total: seen.append(done), **wish)
    assert [] == seen


def test_labels_counted_are_those_of_the_target_asked_for(clean_bucket):
    """By site, the labels are the sites."""
    document = inspect(clean_bucket, target="site").to_json()

    assert ("site", {"north": 140, "south": 140}) == (document["target"], document["labels"])


def test_one_attribute_to_watch_may_stand_without_brackets(tmp_path):
    """by = "site" is the site, not s, i, t and e; anything else than names is refused."""
    store = make_clean(tmp_path / "clean")
    store.write("visrec.toml", b'[train]\nby = "site"\n')
    assert ["site"] == read_bucket(store).defaults["by"]

    store.write("visrec.toml", b"[train]\nby = 3\n")
    with pytest.raises(InputError, match="by = 3; expected names"):
        read_bucket(store)


def test_small_cells_are_named_where_visrec_draws_the_images_to_judge_by(tmp_path):
    """A fifth of 120 are 24: an audit of this bucket will say 'too few images', and the doctor says so before."""
    store = make_clean(tmp_path / "clean")
    write_table(store, [row | {"split": ""} for row in clean_rows()[:240]])
    found = {p.kind: p for p in inspect(store).problems}

    assert ["site: north (24)", "site: south (24)"] == sorted(found["small_cell"].examples)
    assert "when 20% are drawn for it" in found["small_cell"].advice


def test_decisions_of_the_bucket_are_in_force_unless_others_were_kept(tmp_path):
    """visrec.toml speaks for whoever gets the bucket; what was decided here goes before it."""
    store = make_clean(tmp_path / "clean")
    store.write("visrec.toml", b'[decisions]\nduplicate = "drop_extra"\nrare_class = "drop"\n')
    save_decisions(tmp_path / "cache", store.url, {"rare_class": "keep"})
    inspection = inspect(store, cache_dir=tmp_path / "cache")

    assert {"duplicate": "drop_extra", "rare_class": "keep"} == inspection.to_json()["decisions"]
    assert inspection.decisions == inspection.table.decisions


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[decisions]\nduplicat = "keep"', "Did you mean 'duplicate'"),
        ('[decisions]\nduplicate = "burn"', "'burn' is no choice for 'duplicate'"),
        ("[decisions]\nduplicate = true", "'True' is no choice for 'duplicate'"),
        ('decisions = "keep"', "expected a table"),
    ],
)
def test_a_decision_of_the_bucket_that_does_not_exist_is_refused(tmp_path, text, words):
    """A mistyped kind would otherwise leave its default in force, unsaid."""
    store = make_clean(tmp_path / "clean")
    store.write("visrec.toml", text.encode())
    with pytest.raises(InputError, match=words):
        read_bucket(store)


def test_a_label_table_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    """UTF-16, as Excel writes it, with half a letter at its end: the other rows are there."""
    store = make_clean(tmp_path / "clean")
    store.write("labels.csv", "\ufefffile,label\ntrain/0.jpg,cat\ntrain/1.jpg,dog\n".encode("utf-16-le") + b"t")
    store.write("visrec.toml", b"")
    assert {"cat", "dog"} == set(read_bucket(store).samples["label"])


def test_looking_can_be_stopped(clean_bucket):
    """And reports its progress."""
    seen = []
    with pytest.raises(RunError, match="cancelled"):
        inspect(clean_bucket, progress=lambda done, total: seen.append(done), stop=lambda: len(seen) > 5)
    assert len(seen) < 280


def test_a_stopped_look_goes_on_where_it_stopped(clean_bucket, tmp_path):
    """Of a hundred thousand images in a far bucket, an hour's reading must not be lost to a dropped connection."""
    seen, again = [], []
    with pytest.raises(RunError, match="kept for the next time"):
        inspect(
            clean_bucket, cache_dir=tmp_path, progress=lambda done, total: seen.append(done),
            stop=lambda: len(seen) > 5,
        )  # fmt: skip
    whole = inspect(clean_bucket, cache_dir=tmp_path, progress=lambda done, total: again.append(done))

    assert again[0] >= seen[-1] > 0
    assert whole.facts.equals(inspect(clean_bucket).facts)


def test_document_has_the_designed_keys(faulty):
    """layout, images, labels, attributes, splits, problems; counts are numbers."""
    document = json.loads(json.dumps(faulty[0].to_json()))

    assert {"layout", "images", "labels", "attributes", "splits", "problems"} <= set(document)
    assert {"kind", "severity", "count", "examples", "advice"} <= set(document["problems"][0])
    assert sum(document["splits"].values()) == document["labelled"]


def test_command_inspects_and_decides(clean_bucket, tmp_path, monkeypatch, capsys):
    """`--decide` is kept for the next time; a choice that does not exist is refused with those that do."""
    monkeypatch.setenv("VISREC_CACHE", str(tmp_path))
    bucket = str(clean_bucket.root)

    assert 0 == run(["inspect", bucket, "--json", "--decide", "duplicate=drop_extra"])
    assert {"duplicate": "drop_extra"} == json.loads(capsys.readouterr().out)["decisions"]
    assert 0 == run(["inspect", bucket, "--json"])
    assert {"duplicate": "drop_extra"} == json.loads(capsys.readouterr().out)["decisions"]
    assert 2 == run(["inspect", bucket, "--decide", "duplicate=burn"])
    assert "keep, drop_extra" in capsys.readouterr().err


def test_command_shows_which_choice_is_in_force(faulty_bucket, tmp_path, monkeypatch, capsys):
    """The default until another is decided."""
    monkeypatch.setenv("VISREC_CACHE", str(tmp_path))
    bucket = str(faulty_bucket[0].root)

    assert 0 == run(["inspect", bucket, "--decide", "duplicate=drop_extra"])
    shown = capsys.readouterr().out
    assert "--decide duplicate=keep|drop_extra  (in force: drop_extra)" in shown
    assert "--decide rare_class=keep|drop  (in force: keep)" in shown


def test_command_refuses_an_unknown_bucket(capsys):
    """Exit code 2 and a sentence."""
    assert 2 == run(["inspect", "no-such-bucket", "--json"])
    assert "There is no bucket 'no-such-bucket'" in capsys.readouterr().err


@pytest.mark.slow
def test_real_faces_are_inspected_without_a_false_alarm(shared):
    """13,000 faces in well under a minute; the real copies are found, nothing else is complained of."""
    started = time.monotonic()
    inspection = inspect(FolderStore(shared / "data/fairface"))
    found = {p.kind: p for p in inspection.problems}

    assert time.monotonic() - started < 60
    assert {"duplicate", "duplicate_across_splits", "near_duplicate"} <= set(found)
    assert {"train/9213.jpg = val/1353.jpg", "train/6629.jpg = val/2236.jpg"} == set(
        found["duplicate_across_splits"].examples
    )
    assert set(found) <= {"duplicate", "duplicate_across_splits", "near_duplicate", "conflicting_labels", "small_cell"}


def test_real_photos_are_inspected_without_a_false_alarm(shared):
    """197 photos: copies, one very narrow picture, and nothing else."""
    inspection = inspect(FolderStore(shared / "data/stop-signs"))

    assert {p.kind for p in inspection.problems} <= {"duplicate", "near_duplicate", "extreme_aspect"}
