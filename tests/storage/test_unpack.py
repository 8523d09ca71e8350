"""Tests for visrec.storage.unpack: an archive made to do harm does none."""

import io
import tarfile
import zipfile

import pytest

from visrec.errors import InputError, RunError
from visrec.storage.unpack import Limits, unpack

FILES = {"labels.csv": b"file,label\n", "train/1.jpg": b"\xff\xd8" + bytes(range(256)) * 40}


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path, files, mode="w:gz", extra=()):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def goal(tmp_path):
    (tmp_path / "goal").mkdir()
    return tmp_path / "goal"


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_is_told_by_its_bytes(tmp_path, goal, mode):
    """Whatever the file is called."""
    make = make_zip if mode == "zip" else lambda path, files: make_tar(path, files, mode)
    seen = []

    meter = unpack(make(tmp_path / "x", FILES), goal, progress=lambda done, total: seen.append((done, total)))

    assert FILES == content(goal)
    assert (2, 0) == (meter.files, meter.left_out)
    assert all(0 <= done <= total for done, total in seen)


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg", "C:\\evil.jpg"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_name_that_leads_out_refuses_the_archive(tmp_path, goal, make, name):
    """And writes nothing outside."""
    with pytest.raises(InputError, match="lead out"):
        unpack(make(tmp_path / "x", {name: b"x"}), goal)

    assert {"x", "goal"} == {p.name for p in tmp_path.iterdir()}
    assert {} == content(goal)


def test_links_and_devices_are_left_out(tmp_path, goal):
    """So that no later entry is written through one."""
    extra = [link("out", "/tmp"), link("hard", "train/1.jpg", tarfile.LNKTYPE), link("tty", "", tarfile.CHRTYPE)]
    tar = make_tar(tmp_path / "x", FILES, extra=extra)

    assert 3 == unpack(tar, goal).left_out
    assert FILES == content(goal)


def test_symbolic_link_in_a_zip_is_left_out(tmp_path, goal):
    """Zips hold them too, by a mode bit."""
    path = make_zip(tmp_path / "x", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("out")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/tmp")

    assert 1 == unpack(path, goal).left_out
    assert FILES == content(goal)


def test_a_packing_that_python_does_not_know_refuses_the_archive(tmp_path, goal):
    """Deflate64, which Windows uses above 2 GB: the other files alone would pass for the whole bucket."""
    path = make_zip(tmp_path / "x", FILES)
    packed = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):  # local and central headers: the method
        at = packed.rfind(signature) + offset
        packed[at : at + 2] = (9).to_bytes(2, "little")
    path.write_bytes(packed)

    with pytest.raises(InputError, match=r"'train/1\.jpg' in a way that cannot be unpacked"):
        unpack(path, goal)


def test_file_with_holes_refuses_the_archive(tmp_path, goal):
    """Holes come out of nothing, so no count of bytes would stop them: 1.5 kB here hold 30 MB."""
    info = tarfile.TarInfo("a.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT)[:512])
    header[386 : 386 + 24] = b"%011o\0%011o\0" % (30_000_000, 0)  # one piece of no bytes, behind a hole
    header[483 : 483 + 12] = b"%011o\0" % 30_000_000
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x").write_bytes(bytes(header) + bytes(1024))

    with pytest.raises(InputError, match=r"file with holes \(30,000,000 bytes"):
        unpack(tmp_path / "x", goal)
    assert {} == content(goal)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bomb_is_given_up(tmp_path, goal, make):
    """A thousandfold is no image; what is written before that is bounded."""
    bomb, limits = make(tmp_path / "x", {"a.jpg": bytes(20_000_000)}), Limits(free=1_000_000)
    with pytest.raises(InputError, match="far more than its own size"):
        unpack(bomb, goal, limits=limits)

    assert sum(map(len, content(goal).values())) <= limits.bytes_for(bomb.stat().st_size) < 3_000_000


def test_number_and_total_are_limited(tmp_path, goal):
    """Millions of empty files fill a disk as well."""
    path = make_zip(tmp_path / "x", FILES)
    with pytest.raises(InputError, match="more than 1 files"):
        unpack(path, goal, limits=Limits(files=1))
    with pytest.raises(InputError, match="more than 100 bytes"):
        unpack(path, goal, limits=Limits(total=100))


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_damage_is_a_sentence(tmp_path, goal, mode):
    """Cut in the middle, or flipped."""
    noise = {"a.jpg": bytes((i * i * 7919 >> 5) % 256 for i in range(60_000))}
    path = (make_zip if mode == "zip" else lambda p, f: make_tar(p, f, mode))(tmp_path / "x", noise)
    path.write_bytes(path.read_bytes()[:-3000] if mode != "w" else path.read_bytes()[:30_000])

    with pytest.raises(InputError):
        unpack(path, goal)


@pytest.mark.parametrize(("data", "words"), [(b"", "neither"), (b"<!DOCTYPE html><p>Sign in", "web page")])
def test_what_is_no_archive_is_said(tmp_path, goal, data, words):
    """A sharing page saved in its place is the usual mistake."""
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(InputError, match=words):
        unpack(tmp_path / "x", goal)


def test_litter_of_operating_systems_is_left(tmp_path, goal):
    """Resource forks look like images."""
    unpack(make_zip(tmp_path / "x", {"__MACOSX/._1.jpg": b"x", ".DS_Store": b"x", "1.jpg": b"y"}), goal)

    assert {"1.jpg": b"y"} == content(goal)


def test_file_that_is_also_a_folder_is_said(tmp_path, goal):
    """Possible in a zip, not on a disk."""
    with pytest.raises(InputError, match="both as a file and as a folder"):
        unpack(make_zip(tmp_path / "x", {"a": b"x", "a/b": b"y"}), goal)


def test_cancelled(tmp_path, goal):
    """Heard while unpacking."""
    with pytest.raises(RunError, match="cancelled"):
        unpack(make_zip(tmp_path / "x", FILES), goal, stop=lambda: True)


def test_names_of_other_systems_are_read_as_meant(tmp_path, goal):
    """UTF-8 that is not said to be (the zip of macOS), folders with a backslash (old tools of Windows)."""
    written = "sub/Café.jpg".encode()
    path = make_zip(tmp_path / "x", {"x" * len(written): b"1", "dog\\": b"", "dog\\1.jpg": b"2"})
    path.write_bytes(path.read_bytes().replace(b"x" * len(written), written))
    unpack(path, goal)

    assert {"sub/Café.jpg": b"1", "dog/1.jpg": b"2"} == content(goal)
