"""Tests for visrec.data.decisions and visrec.data.alike: what was decided is kept, and is done."""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from visrec.data import decisions as module
from visrec.data.alike import content_groups, groups, near_pairs
from visrec.data.decisions import leave_out_rare, load_decisions, save_decisions, settle
from visrec.data.layouts import read_bucket
from visrec.data.split import assign_splits
from visrec.errors import InputError
from visrec.storage.folder import FolderStore


def samples() -> pd.DataFrame:
    rows = [
        ("a", "cat", "train", "1"), ("a copy", "cat", "train", "1"), ("b", "cat", "tune", "2"),
        ("b val", "dog", "val", "2"), ("c", "dog", "train", "3"), ("bad", "dog", "val", None),
        ("bad too", "dog", "train", None),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["file", "label", "split", "sha256"]).assign(
        status=["ok"] * 5 + ["zero_byte"] * 2
    )


def test_decisions_are_kept_by_bucket(tmp_path):
    """Two buckets of one name, different places: each has its own."""
    save_decisions(tmp_path, "/data/faces", {"duplicate": "drop_extra"})
    save_decisions(tmp_path, "s3://faces", {"duplicate": "keep"})
    save_decisions(tmp_path, "/data/faces", {"rare_class": "drop"})

    assert {"duplicate": "drop_extra", "rare_class": "drop"} == load_decisions(tmp_path, "/data/faces")
    assert {"duplicate": "keep"} == load_decisions(tmp_path, "s3://faces")
    assert {} == load_decisions(tmp_path, "/data/other")
    assert (tmp_path / "decisions" / "faces.toml").is_file()


@pytest.mark.parametrize("url", ["/data/faces 😀", '/data/\x7f\t"\\', "/data/caf\udce9"])
def test_decisions_are_kept_whatever_the_bucket_is_called(tmp_path, url):
    """An emoji, a control character, bytes that are no UTF-8: the file stays TOML."""
    save_decisions(tmp_path, url, {"duplicate": "keep"})
    save_decisions(tmp_path, url, {"rare_class": "drop"})

    assert {"duplicate": "keep", "rare_class": "drop"} == load_decisions(tmp_path, url)


def test_decisions_taken_at_once_are_all_kept(tmp_path, monkeypatch):
    """Two visitors, or a page and the command line; a slow disk."""

    class Slow(FolderStore):
        def write(self, key, data):
            time.sleep(0.05)
            super().write(key, data)

    monkeypatch.setattr(module, "FolderStore", Slow)
    taken = {"duplicate": "keep", "rare_class": "drop", "excel_damage": "keep", "near_duplicate": "ignore"}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: save_decisions(tmp_path, "/data/faces", dict([one])), taken.items()))

    assert taken == load_decisions(tmp_path, "/data/faces")


@pytest.mark.parametrize(
    ("kind", "choice", "words"),
    [("duplicat", "keep", "Did you mean 'duplicate'"), ("duplicate", "x", "keep, drop")],
)
def test_unknown_decision_is_refused(tmp_path, kind, choice, words):
    """Nothing is written."""
    with pytest.raises(InputError, match=words):
        save_decisions(tmp_path, "/data/faces", {kind: choice})
    assert [] == list(tmp_path.iterdir())


def test_damaged_file_is_a_sentence(tmp_path):
    """It says which file, and that it may be deleted."""
    save_decisions(tmp_path, "/data/faces", {"duplicate": "keep"})
    (tmp_path / "decisions" / "faces.toml").write_text("[oops")

    with pytest.raises(InputError, match="delete it to decide anew"):
        load_decisions(tmp_path, "/data/faces")


@pytest.mark.parametrize(
    ("decisions", "left_out"),
    [
        ({}, {"b"}),
        ({"duplicate_across_splits": "keep"}, set()),
        ({"duplicate_across_splits": "keep", "duplicate": "drop_extra"}, {"a copy"}),
        ({"duplicate_across_splits": "keep", "conflicting_labels": "drop"}, {"b", "b val"}),
    ],
)
def test_decision_is_done_and_noted(decisions, left_out):
    """By default a training image that is also judged on is left out, and nothing else."""
    before = samples()
    after, notes = settle(before, decisions)

    assert left_out == set(before["file"]) - set(after["file"])
    assert bool(left_out) == bool(notes)
    assert before.equals(samples())


def test_rare_classes_are_left_out_when_decided():
    """And never until only one class is left."""
    table = pd.DataFrame({"label": ["a"] * 60 + ["b"] * 60 + ["c"] * 9 + ["d"]})

    assert 130 == len(leave_out_rare(table, {})[0])
    assert 129 == len(leave_out_rare(table, {"single_image_class": "drop"})[0])
    assert {"a", "b"} == set(leave_out_rare(table, {"rare_class": "drop"})[0]["label"])
    with pytest.raises(InputError, match="fewer than two classes remain"):
        leave_out_rare(table[55:], {"rare_class": "drop"})


def test_pairs_join_into_groups():
    """a~b, b~c: one group; d is alone."""
    found = groups(list("abcd"), [("a", "b"), ("c", "b")])

    assert {"a": "a", "b": "a", "c": "a", "d": "d"} == found.to_dict()


def test_alike_images_are_never_torn_by_the_split(tmp_path, clean_bucket):
    """Frames of one video, in class folders without splits: near-copies stay in one split."""
    store = FolderStore(tmp_path)
    for number in range(20):
        picture = Image.open(io.BytesIO(clean_bucket.read(f"train/{number}.jpg")))
        for quality in (95, 80, 60):  # the same scene, never the same bytes
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality)
            store.write(f"{'cd'[number % 2]}/video{number}-{quality}.jpg", buffer.getvalue())
    table = read_bucket(store)
    found = content_groups(store, table, None, {})
    split = assign_splits(table, groups=found)
    video = split["file"].str.extract(r"video(\d+)")[0]

    assert 20 == found.nunique()
    assert 1 == split.groupby(video.to_numpy())["split"].nunique().max()
    assert content_groups(store, table, None, {"near_duplicate": "ignore"}) is None
    assert np.isin(["train", "val"], split["split"].unique()).all()


@pytest.mark.parametrize("noise", [0, 3])
def test_a_crowd_of_nearly_equal_pictures_is_one_group(noise):
    """240 frames of a camera that stands still, more than are compared each with each, and 20 pictures of others."""
    rng = np.random.default_rng(1)
    drawn = rng.integers(20, 230, (21, 8, 8)).repeat(2, axis=1).repeat(2, axis=2)
    frames = drawn[0] + rng.integers(0, noise + 1, (240, 16, 16))
    pictures = np.concatenate([frames, drawn[1:]]).astype(np.uint8)
    facts = pd.DataFrame({"thumb": [p.tobytes() for p in pictures], "sha256": [str(n) for n in range(260)]})
    facts.index = [f"{n:03}.jpg" for n in range(260)]
    pairs = near_pairs(facts)
    found = groups(list(facts.index), pairs)

    assert {"000.jpg"} == set(found.iloc[:240])
    assert 21 == found.nunique()
    assert len(pairs) < 240 * 239 / 2
