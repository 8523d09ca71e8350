"""Two S3 servers at once, a bucket of the same name on each: what is read is never the other's."""

import dataclasses
import os
import subprocess
import sys

import pytest

from visrec.config import Settings
from visrec.connections import S3Settings
from visrec.runs import jobs
from visrec.storage.buckets import list_buckets, open_bucket
from visrec.storage.s3 import S3Store, client

SERVER = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


@pytest.fixture(scope="module")
def other_server():
    """A second server in a process of its own: moto keeps its buckets per process."""
    import contextlib
    import socket
    import time

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=quiet, stderr=quiet)
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture
def settings(tmp_path, s3_settings, other_server) -> Settings:
    """The plain connection and one named ``eu``, a bucket ``faces`` on each with different contents."""
    here = dataclasses.replace(s3_settings, region="us-east-1")
    there = dataclasses.replace(here, endpoint_url=other_server, name="eu", access_key_id="EUKEY")
    for s3, said in ((here, b"here"), (there, b"there")):
        client(s3).create_bucket(Bucket="faces")
        S3Store("faces", "", s3).write("a.txt", said)
    return Settings(
        buckets=(tmp_path,), runs=str(tmp_path / "runs"), cache=tmp_path / "cache", queue=tmp_path / "queue",
        s3=here, connections=(there,),
    )  # fmt: skip


def test_both_are_offered_and_each_opens_its_own(settings):
    """Same bucket, same key, other bytes; the URL says by which connection."""
    names = [b.name for b in list_buckets(settings) if b.url.endswith("faces")]

    assert ["faces", "s3://eu@faces"] == names
    assert [b"here", b"there"] == [open_bucket(name, settings).read("a.txt") for name in names]
    assert ["s3://faces", "s3://eu@faces"] == [open_bucket(name, settings).url for name in names]
    assert [b"there"] == [data for _, data in open_bucket("s3://eu@faces", settings).read_many(["a.txt"])]


def test_one_that_is_silent_does_not_hide_the_other(settings):
    """Each failure is told; what answers is offered."""
    dark = S3Settings("b", "k", "s", "http://127.0.0.1:9", name="dark")
    errors = []
    found = list_buckets(dataclasses.replace(settings, connections=(dark, *settings.connections)), errors.append)

    assert "s3://eu@faces" in [b.name for b in found]
    assert 1 == len(errors)


def test_a_process_gets_the_chosen_connection_and_no_other(settings, monkeypatch):
    """Variables of ours that would lead it elsewhere are emptied; keys that it does not need stay here."""
    for name in ("BUCKET", "REGION", "ENDPOINT_URL", "VISREC_COS_OLD_BUCKET", "S3_ADDRESSING_STYLE"):
        monkeypatch.setenv(name, "http://from.outside" if name == "ENDPOINT_URL" else "auto")
    third = S3Settings("c", "THIRD", "third-secret", "http://127.0.0.1:9", name="third")
    settings = dataclasses.replace(settings, s3=S3Settings(), connections=(*settings.connections, third))

    given = jobs.environment(settings, "s3://eu@faces")
    read = Settings.load(given, None)

    assert not read.s3.configured
    assert read.s3.region is None or "auto" != read.s3.region
    assert ["eu"] == [s3.name for s3 in read.connections]
    assert settings.connections[0] == read.connections[0]
    assert "third-secret" not in " ".join(given.values())
    assert () == Settings.load(jobs.environment(settings), None).connections


def test_a_process_reads_the_bucket_of_its_connection(settings):
    """As a run does: the bucket by its URL, the key by the environment alone."""
    code = (
        "from visrec.config import Settings; from visrec.storage.buckets import open_bucket; "
        "print(open_bucket('s3://eu@faces', Settings.load(dotenv=None)).read('a.txt').decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=os.getcwd(),
        env=jobs.environment(settings, "s3://eu@faces"), check=False,
    )  # fmt: skip

    assert "there\n" == done.stdout, done.stderr
