"""Tests for visrec fetch: over a real HTTP server that cuts, stalls and redirects, the bucket is whole or not there."""

import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from bad_server import Server

from visrec.cli import run
from visrec.config import Settings
from visrec.data.layouts import read_bucket
from visrec.errors import AccessError, InputError, NotFoundError, OutsideError, RunError
from visrec.storage import download as module
from visrec.storage.buckets import open_store
from visrec.storage.download import download
from visrec.storage.fetch import fetch
from visrec.storage.s3 import S3Store
from visrec.storage.upload import MARKER

FILES = {"_annotations.json": b"{}", "a.jpg": os.urandom(30_000), "sub/ü b.jpg": os.urandom(50_000)}
QUICK = {"sleep": lambda seconds: None, "tries": 4, "timeout": 0.3}


def zipped(files=FILES, top="") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(top + name, data)
    return buffer.getvalue()


@pytest.fixture
def server():
    server = Server(zipped())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path):
    return Settings(buckets=(tmp_path / "buckets",), cache=tmp_path / "cache")


def content(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_left(settings) -> bool:
    return not settings.buckets[0].exists() or not list(settings.buckets[0].iterdir())


def test_bucket_is_the_content_of_the_zip(server, settings):
    """Every byte; of the download, only its empty lock is kept."""
    folder = fetch([server.url], "new", settings)

    assert settings.buckets[0] / "new" == folder
    assert FILES == content(folder)
    assert [(".lock", 0)] == [(path.suffix, path.stat().st_size) for path in (settings.cache / "fetch").iterdir()]


def test_two_fetches_of_one_link_wait_for_each_other(server, settings):
    """Each makes its bucket, though the first clears the download away under the one that waits."""
    server.slow = 0.02
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda name: fetch([server.url], name, settings), ["one", "two"]))

    assert [FILES, FILES] == [content(folder) for folder in folders]


def test_single_folder_at_the_top_is_gone_into(server, settings):
    """As when unpacking by hand; the folder may even be named like one of its files."""
    server.data = zipped(top="a.jpg/")

    assert FILES == content(fetch([server.url], "new", settings))


def test_redirect_is_followed_with_the_range(server, tmp_path):
    """Public links mostly lead on to a store."""
    server.cut_after = 20_000
    url = server.url.replace("/bucket", "/moved/bucket")

    assert server.data == download(url, tmp_path / "f", **QUICK).read_bytes()
    assert any(path == "/bucket.zip" and wanted for path, wanted, _ in server.asked)


def test_redirect_to_a_local_file_is_refused(server, tmp_path):
    """A link must not read this machine."""
    with pytest.raises(InputError, match="not safe to follow"):
        download(server.url.replace("/bucket", "/to-file"), tmp_path / "f", **QUICK)


@pytest.mark.parametrize("fault", ["cut_after", "stall_after"])
def test_cut_or_stalled_download_goes_on_where_it_stopped(server, tmp_path, fault):
    """More often than there are tries, because each time something arrived; and no byte is read twice."""
    setattr(server, fault, 9_000)
    if fault == "stall_after":
        server.data = server.data[:40_000]

    assert server.data == download(server.url, tmp_path / "f", **QUICK).read_bytes()
    assert len(server.asked) > QUICK["tries"]
    starts = [int(wanted[6:-1]) for _, wanted, _ in server.asked if wanted]
    assert starts == sorted(set(starts))


def test_a_piece_cut_short_is_never_taken_for_the_end_of_the_file(server, tmp_path):
    """A server may send the rest without saying how long the whole is; then the length of the rest counts."""
    server.total, server.cut_after = False, 30_000

    assert server.data == download(server.url, tmp_path / "f", **QUICK).read_bytes()


@pytest.mark.parametrize(
    "link",
    ["https://host/a b.zip?sig=SECRET", "https://me:SECRET@[x/a.zip", "https://host:x/?sig=SECRET", "https://h/ü"],
)
def test_a_link_that_cannot_be_asked_for_is_refused_at_once_without_its_secrets(tmp_path, link):
    """No try can succeed, so none is made; the signature stays out of the message."""
    slept = []
    with pytest.raises(InputError, match=r"expected (https|%20)") as caught:
        download(link, tmp_path / "f", sleep=slept.append)

    assert "SECRET" not in str(caught.value)
    assert [] == slept


def test_entries_left_out_are_told(server, settings, capsys, monkeypatch):
    """A bucket that holds less than its archive is never taken for the whole archive."""
    buffer = io.BytesIO(zipped())
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("train/2.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "1.jpg")
    server.data = buffer.getvalue()
    monkeypatch.setenv("VISREC_BUCKETS", str(settings.buckets[0]))
    monkeypatch.setenv("VISREC_CACHE", str(settings.cache))

    assert 0 == run(["fetch", server.url, "new", "--json"])
    said = capsys.readouterr()
    assert ["1 entries of the archive (links, devices or encrypted files) were left out."] == (
        json.loads(said.out)["notes"]
    )


def test_server_without_ranges_is_begun_anew_and_given_up(server, tmp_path):
    """It arrives when the fault passes; when it never does, the tries end."""
    server.ranges, server.cut_after, server.faults = False, 9_000, 2
    assert server.data == download(server.url, tmp_path / "f", **QUICK).read_bytes()

    server.faults = 10**9
    with pytest.raises(OutsideError, match="ended after 9,000 of"):
        download(server.url, tmp_path / "g", **QUICK)


def test_file_that_changed_meanwhile_is_not_mixed(server, tmp_path):
    """If-Range: the new file is read from its start."""
    server.cut_after, server.faults = 9_000, 10**9
    with pytest.raises(RunError):
        download(server.url, tmp_path / "f", stop=lambda: len(server.asked) > 2, **QUICK)
    server.data, server.etag, server.faults = zipped({"other.jpg": b"x" * 50_000}), '"v2"', 0

    assert server.data == download(server.url, tmp_path / "f", **QUICK).read_bytes()
    assert '"v1"' == server.asked[-1][2]


def test_part_of_another_process_is_gone_on_with(server, tmp_path):
    """The next day, the rest is read."""
    server.cut_after = 30_000
    with pytest.raises(RunError):
        download(server.url, tmp_path / "f", stop=lambda: len(server.asked) > 1, **QUICK)
    server.faults = 0
    before = len(server.asked)

    assert server.data == download(server.url, tmp_path / "f", **QUICK).read_bytes()
    assert [f"bytes={30_000 * (before - 1)}-"] == [wanted for _, wanted, _ in server.asked[before:]]
    assert ["f"] == [p.name for p in tmp_path.iterdir()]


def test_busy_server_is_asked_again(server, tmp_path):
    """503 passes."""
    server.status, server.faults = 503, 3

    assert server.data == download(server.url, tmp_path / "f", **QUICK).read_bytes()


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(404, NotFoundError, "Check the link"), (403, AccessError, "public link"), (418, OutsideError, "answered 418"),
     (503, OutsideError, "try again later")],
)  # fmt: skip
def test_refusal_is_one_sentence(server, tmp_path, status, error, words):
    """And at once where asking again cannot help; the signature in a link is never shown."""
    server.status = status
    with pytest.raises(error, match=words) as caught:
        download(server.url + "?signature=secret", tmp_path / "f", **QUICK)

    assert "secret" not in str(caught.value)
    assert len(server.asked) == (QUICK["tries"] if status == 503 else 1)


def test_unreachable_server_is_a_sentence(tmp_path):
    """Nobody listens there."""
    with pytest.raises(OutsideError, match="could not be read to its end"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "f", **QUICK)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x.zip", "x.zip", "http:///x"])
def test_only_web_links(url, tmp_path):
    """Nothing else is opened."""
    with pytest.raises(InputError, match="not a link"):
        download(url, tmp_path / "f")


def test_checksum_is_held_to(server, settings):
    """The right one passes in any writing; with the wrong one nothing appears."""
    right = hashlib.sha256(server.data).hexdigest()
    with pytest.raises(InputError, match=right):
        fetch([server.url], "new", settings, sha256="0" * 64)
    assert nothing_left(settings)
    with pytest.raises(InputError, match="64 hex digits"):
        fetch([server.url], "new", settings, sha256="abc")

    assert FILES == content(fetch([server.url], "new", settings, sha256="SHA256:" + right.upper()))


def test_existing_bucket_is_left_alone(server, settings):
    """Nothing is even read."""
    folder = settings.buckets[0] / "old"
    folder.mkdir(parents=True)
    (folder / "x").write_text("mine")

    with pytest.raises(InputError, match="already"):
        fetch([server.url], "old", settings)
    assert {"x": b"mine"} == content(folder)
    assert [] == server.asked


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "s3://"])
def test_impossible_names_are_refused(server, settings, name):
    """Before anything is read."""
    with pytest.raises(InputError):
        fetch([server.url], name, settings)
    assert [] == server.asked


@pytest.fixture
def remote(settings, s3_settings, s3_bucket):
    """Settings that also reach an empty S3 bucket, and the URL of a prefix in it."""
    return dataclasses.replace(settings, s3=s3_settings), f"s3://{s3_bucket}/faces"


def objects(url, settings) -> dict[str, bytes]:
    store = open_store(url, settings, create=True)
    return {info.key: store.read(info.key) for info in store.list()}


def test_remote_bucket_is_the_content_of_the_zip(server, remote):
    """As a folder is; a second fetch finds it full, and nothing but the bucket stays."""
    settings, url = remote
    open_store(url.removesuffix("/faces"), settings).write("faces/", b"")  # a folder made in a web console
    assert fetch([server.url], url, settings) == url
    assert FILES == {key: data for key, data in objects(url, settings).items() if key}
    assert not [path for path in settings.cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    asked = len(server.asked)
    with pytest.raises(InputError, match="already"):
        fetch([server.url], url, settings)
    assert asked == len(server.asked)


def test_upload_that_broke_off_says_so_to_readers_and_is_finished_by_the_next(server, remote, monkeypatch):
    """Half a bucket is never taken for whole; what is there is not sent again; other objects are not mixed in."""
    settings, url = remote
    sent = []
    write = S3Store.write

    def breaking(store, key, data):
        sent.append(key)
        if key == "sub/ü b.jpg":
            raise OutsideError("The line is dead.")
        write(store, key, data)

    monkeypatch.setattr(S3Store, "write", breaking)
    with pytest.raises(OutsideError, match="line is dead"):
        fetch([server.url], url, settings)
    with pytest.raises(InputError, match="not whole"):
        read_bucket(open_store(url, settings))

    with pytest.raises(InputError, match="/faces is not whole"):  # nor as a part of the bucket around it
        read_bucket(open_store(url.removesuffix("/faces"), settings))

    monkeypatch.setattr(S3Store, "write", lambda store, key, data: (sent.append(key), write(store, key, data)))
    before = [key for key in objects(url, settings) if key != MARKER]
    sent.clear()
    fetch([server.url], url, settings)
    assert FILES == objects(url, settings)
    assert not set(sent) & set(before)

    (store := open_store(url, settings)).write(MARKER, b"")
    store.write("stranger.jpg", b"x")
    with pytest.raises(InputError, match=r"other objects .* 'stranger\.jpg'"):
        fetch([server.url], url, settings)


def test_missing_remote_bucket_is_said_before_anything_is_downloaded(server, remote):
    """A typing error costs no download."""
    settings, _ = remote
    with pytest.raises(NotFoundError):
        fetch([server.url], "s3://no-such-bucket-here/x", settings)
    assert [] == server.asked


def test_damaged_archive_leaves_nothing_behind(server, settings):
    """Neither a bucket nor a download that the next try would take for good."""
    server.data = server.data[:-500]
    with pytest.raises(InputError):
        fetch([server.url], "new", settings)
    assert nothing_left(settings)

    server.data = zipped()
    assert FILES == content(fetch([server.url], "new", settings))


def test_too_little_space_is_said_before_it_is_full(server, tmp_path, monkeypatch):
    """What is needed and what is free."""
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutsideError, match="are free"):
        download(server.url, tmp_path / "f", **QUICK)


def test_killed_fetch_leaves_no_half_bucket_and_is_gone_on_with(server, settings):
    """SIGKILL in the middle of the download; the next one reads the rest only."""
    server.slow = 0.05
    code = (
        "import sys; from pathlib import Path; from visrec.config import Settings; from visrec.storage.fetch import "
        "fetch; fetch([sys.argv[1]], 'new', Settings(buckets=(Path(sys.argv[2]),), cache=Path(sys.argv[3])))"
    )
    arguments = [server.url, str(settings.buckets[0]), str(settings.cache)]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments])
    while not any(p.stat().st_size for p in settings.cache.rglob("*.part")):
        assert child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=10)
    assert nothing_left(settings)
    server.slow = 0

    assert FILES == content(fetch([server.url], "new", settings))
    assert server.asked[-1][1] is not None


def test_command_makes_a_bucket_that_is_listed(server, settings, monkeypatch, capsys):
    """One JSON document; a second time is refused with exit code 2."""
    monkeypatch.setenv("VISREC_BUCKETS", str(settings.buckets[0]))
    monkeypatch.setenv("VISREC_CACHE", str(settings.cache))

    assert 0 == run(["fetch", server.url, "mine", "--recipe", "cloud-annotations", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert (2, "mine") == (made["images"], made["bucket"]["name"])
    assert 2 == run(["fetch", server.url, "mine"])
    assert "already" in capsys.readouterr().err
    assert 0 == run(["buckets", "--json"])
    assert ["mine"] == [b["name"] for b in json.loads(capsys.readouterr().out)]


def test_recipe_refuses_what_it_does_not_promise(server, settings, monkeypatch, capsys):
    """An archive without _annotations.json is no export; without images, no bucket."""
    monkeypatch.setenv("VISREC_BUCKETS", str(settings.buckets[0]))
    monkeypatch.setenv("VISREC_CACHE", str(settings.cache))
    server.data = zipped({"a.jpg": b"x"})
    assert 2 == run(["fetch", server.url, "mine", "--recipe", "cloud-annotations"])
    assert "no export of Cloud Annotations" in capsys.readouterr().err
    server.data = zipped({"a.txt": b"x"})
    assert 2 == run(["fetch", server.url, "mine"])
    assert "no image" in capsys.readouterr().err
    assert nothing_left(settings)
