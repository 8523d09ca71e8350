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


def test_damage_of_the_packing_is_a_sentence(tmp_path):
    """A stream that cannot be unpacked at all never comes as far as the checksum."""
    path = pack(tmp_path / "a.zip", {"a.bin": bytes(range(256)) * 9})
    raw = bytearray(path.read_bytes())
    raw[30 + len("a.bin")] = 0xFF  # the first byte behind the header: a kind of block that does not exist
    path.write_bytes(raw)

    with pytest.raises(OutsideError, match=r"'a\.bin' in .* is damaged"):
        ZipStore(path).read("a.bin")


def test_names_of_old_windows_tools_are_folders(tmp_path):
    """Backslashes part folders, and lead out of none."""
    entries = {"cat\\1.jpg": b"1", "dog\\": b"", "..\\x": b"", "a\\..\\..\\x": b"", "\\x": b"", "C:\\x": b""}
    store = ZipStore(pack(tmp_path / "a.zip", entries))

    assert ["cat/1.jpg"] == [i.key for i in store.list()]
    assert b"1" == store.read("cat/1.jpg")


@pytest.mark.parametrize(("written", "name"), [("Café/1.jpg".encode(), "Café/1.jpg"), (b"Caf\x82/1.jpg", "Café/1.jpg")])
def test_names_are_read_as_their_maker_meant_them(tmp_path, written, name):
    """UTF-8 that is not said to be (the zip of macOS), and the code page of DOS."""
    place = "x" * len(written)
    path = pack(tmp_path / "a.zip", {place: b"1"})
    path.write_bytes(path.read_bytes().replace(place.encode(), written))
    store = ZipStore(path)

    assert [name] == [i.key for i in store.list()]
    assert b"1" == store.read(name)


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


def test_zip_in_a_bucket_is_read_by_ranges(tmp_path, s3_settings, s3_bucket, monkeypatch):
    """Only the directory and the entry asked for travel; the URL of the store leads back to it."""
    from visrec.config import Settings
    from visrec.storage import s3
    from visrec.storage.buckets import open_bucket

    entries = {f"faces/{n:03}.bin": bytes([n]) * 50_000 for n in range(60)}
    data = pack(tmp_path / "a.zip", entries, zipfile.ZIP_STORED).read_bytes()
    s3.S3Store(s3_bucket, "", s3_settings).write("in/Faces.ZIP", data)
    travelled = []

    def counted(self, *args, get=s3.S3Store._get_range):
        travelled.append(len(part := get(self, *args)))
        return part

    monkeypatch.setattr(s3.S3Store, "_get_range", counted)
    settings = Settings(buckets=(tmp_path,), s3=s3_settings)
    store = open_bucket(f"s3://{s3_bucket}/in/Faces.ZIP", settings)

    assert bytes([7]) * 50_000 == store.read("007.bin")
    assert 60 == len(list(store.list()))
    assert sum(travelled) < len(data) / 4
    assert f"s3://{s3_bucket}/in/Faces.ZIP!/faces" == store.url
    again = open_bucket(store.url, settings)
    assert {key: again.read(key) for key in ("000.bin", "059.bin")} == dict(again.read_many(["000.bin", "059.bin"]))


def test_what_is_no_zip_in_a_bucket_is_a_sentence(tmp_path, s3_settings, s3_bucket):
    """A cut upload is named; a prefix that is only named like a zip is a folder."""
    from visrec.config import Settings
    from visrec.storage.buckets import open_bucket
    from visrec.storage.s3 import S3Store

    store = S3Store(s3_bucket, "", s3_settings)
    store.write("cut.zip", b"PK half")
    store.write("old.zip/a.txt", b"1")
    settings = Settings(buckets=(tmp_path,), s3=s3_settings)

    with pytest.raises(InputError, match="not a whole zip"):
        open_bucket(f"s3://{s3_bucket}/cut.zip", settings)
    assert ["a.txt"] == [info.key for info in open_bucket(f"s3://{s3_bucket}/old.zip", settings).list()]


def test_the_url_of_a_folder_in_a_zip_opens_it(tmp_path):
    """Pages keep the URL of the store that they read, which may be a folder in a zip."""
    from visrec.config import Settings
    from visrec.storage.buckets import open_bucket

    store = open_zip(pack(tmp_path / "a.zip", {"faces/a.txt": b"1", "faces/b/c.txt": b"2"}))

    assert store.url.endswith("a.zip!/faces")
    assert ["a.txt", "b/c.txt"] == [info.key for info in open_bucket(store.url, Settings()).list()]
    assert ["c.txt"] == [info.key for info in open_bucket(store.url + "/b", Settings()).list()]
