"""Tests for visrec.storage.zipped: a zip is a bucket that is only read, and never trusted."""

import zipfile

import pytest

from visrec.errors import InputError, NotFoundError, OutsideError
from visrec.storage.zipped import ZipStore, open_zip


def pack(path, entries, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_entries_are_objects(tmp_path):
    """Sorted, with sizes and a tag from the checksum; folders are none."""
    store = ZipStore(pack(tmp_path / "a.zip", {"b/2.txt": b"22", "a.txt": b"1", "b/": b""}))

    assert [("a.txt", 1), ("b/2.txt", 2)] == [(i.key, i.size) for i in store.list()]
    assert {"a.txt": b"1", "b/2.txt": b"22"} == dict(store.read_many(["a.txt", "b/2.txt"]))
    assert ["2.txt"] == [i.key for i in store.sub("b").list()]
    assert store.exists("a.txt")
    assert not store.exists("b")


def test_single_folder_around_everything_is_gone_into(tmp_path):
    """As when unpacking by hand; macOS droppings do not count."""
    store = open_zip(pack(tmp_path / "a.zip", {"faces/a.txt": b"1", "faces/b/c.txt": b"2", "__MACOSX/._a": b""}))

    assert ["a.txt", "b/c.txt"] == [i.key for i in store.list()]


def test_names_that_lead_out_are_not_there(tmp_path):
    """Neither listed nor read."""
    store = ZipStore(pack(tmp_path / "a.zip", {"../x": b"", "/y": b"", "a/../../z": b"", "ok": b"1"}))

    assert ["ok"] == [i.key for i in store.list()]
    with pytest.raises(NotFoundError):
        store.read("../x")


def test_bomb_is_refused(tmp_path):
    """Twenty megabytes of nothing in a few kB."""
    store = ZipStore(pack(tmp_path / "a.zip", {"bomb.jpg": bytes(20_000_000)}))

    with pytest.raises(InputError, match="too large to be unpacked safely"):
        store.read("bomb.jpg")


def test_damage_is_found_by_the_checksum(tmp_path):
    """One flipped byte of an entry; the others are read."""
    path = pack(tmp_path / "a.zip", {"a.bin": b"A" * 500, "b.bin": b"B" * 500}, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"AAAA") + 9] ^= 1
    path.write_bytes(raw)
    found = dict(ZipStore(path).read_many(["a.bin", "b.bin"]))

    assert isinstance(found["a.bin"], OutsideError)
    assert b"B" * 500 == found["b.bin"]


@pytest.mark.parametrize("data", [b"", b"no zip", None])
def test_what_is_no_zip_is_a_sentence(tmp_path, data):
    """Empty, something else, absent."""
    path = tmp_path / "a.zip"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(InputError, match=r"not a whole zip|no zip file"):
        ZipStore(path)


def test_zip_is_only_read(tmp_path):
    """Writing is refused with the way out."""
    store = ZipStore(pack(tmp_path / "a.zip", {"a": b"1"}))

    for change in (lambda: store.write("b", b"2"), lambda: store.delete("a")):
        with pytest.raises(InputError, match="only read"):
            change()
