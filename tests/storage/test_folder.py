"""Tests for visrec.storage.folder: what only a folder can get wrong."""

import os

import pytest

from visrec.errors import NotFoundError, OutsideError
from visrec.storage import folder
from visrec.storage.folder import FolderStore


def test_missing_folder_is_said(tmp_path):
    """A mistyped path must not look like an empty bucket."""
    with pytest.raises(NotFoundError, match="no folder"):
        FolderStore(tmp_path / "nowhere")


def test_failed_write_leaves_the_old_bytes_and_no_rubbish(tmp_path, monkeypatch):
    """Readers see old or new; a write that dies half-way is as if it had never begun."""
    store = FolderStore(tmp_path)
    store.write("k", b"old")
    monkeypatch.setattr(folder.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(OutsideError, match="No space left"):
        store.write("k", b"new")

    assert b"old" == store.read("k")
    assert ["k"] == [path.name for path in tmp_path.iterdir()]


def test_half_written_files_are_not_listed(tmp_path):
    """What a killed writer leaves behind is no object."""
    (tmp_path / f"{folder.PARTIAL}123").write_bytes(b"half")

    assert [] == list(FolderStore(tmp_path).list())


def test_links_are_followed_and_loops_end(tmp_path):
    """Buckets mounted by Kubernetes are links; a link to its own parent must not hang the listing."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"x")
    os.symlink(tmp_path / "real", tmp_path / "linked")
    os.symlink(tmp_path, tmp_path / "real" / "up")
    os.symlink(tmp_path / "gone", tmp_path / "dangling")
    os.symlink(tmp_path / "itself", tmp_path / "itself")

    listed = [info.key for info in FolderStore(tmp_path).list()]

    assert {"linked/a.jpg", "real/a.jpg"} <= set(listed)
    assert not {"dangling", "itself"} & set(listed)


def test_empty_folders_go_with_their_last_object(tmp_path):
    """As in an object store, there is no empty folder."""
    store = FolderStore(tmp_path)
    store.write("a/b/c", b"x")
    store.delete("a/b/c")

    assert [] == list(tmp_path.iterdir())
