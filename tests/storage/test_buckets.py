"""Tests for visrec.storage.buckets: names, paths and URLs lead to stores."""

import dataclasses
import json

import pytest

from visrec.cli import run
from visrec.config import S3Settings, Settings
from visrec.errors import InputError, NotFoundError, OutsideError
from visrec.storage.buckets import Bucket, list_buckets, open_bucket, open_store
from visrec.storage.folder import FolderStore
from visrec.storage.s3 import S3Store


@pytest.fixture
def settings(tmp_path) -> Settings:
    for name in ("a/faces", "a/mugs", "b/faces", "b/.hidden"):
        (tmp_path / name).mkdir(parents=True)
    return Settings(buckets=(tmp_path / "a", tmp_path / "b", tmp_path / "missing"))


def test_folders_of_all_places_are_offered(settings, tmp_path):
    """A name met twice is offered by its path the second time, so that each can be opened."""
    second = str(tmp_path / "b" / "faces")

    assert ["faces", "mugs", second] == [bucket.name for bucket in list_buckets(settings)]
    assert open_bucket("faces", settings).url == str(tmp_path / "a" / "faces")
    assert open_bucket(second, settings).url == second


def test_mistyped_name_gets_the_nearest(settings):
    """The sentence helps: nearest name, and what there is."""
    with pytest.raises(NotFoundError, match=r"no bucket 'face'.+Did you mean 'faces'"):
        open_bucket("face", settings)


def test_name_cannot_leave_the_folder_of_buckets(settings, tmp_path):
    """`..` is a path, not a bucket's name; a path that does not exist is not found."""
    with pytest.raises(NotFoundError):
        open_bucket("../nowhere", settings)


def test_buckets_of_the_server_are_offered_and_opened(settings, s3_bucket, s3_settings):
    """Remote buckets come after folders, and open by name and by URL."""
    settings = dataclasses.replace(settings, s3=s3_settings)
    S3Store(s3_bucket, "", s3_settings).write("in/a.txt", b"x")

    assert Bucket(s3_bucket, f"s3://{s3_bucket}", "s3") in list_buckets(settings)
    assert ["in/a.txt"] == [info.key for info in open_bucket(s3_bucket, settings).list()]
    assert ["a.txt"] == [info.key for info in open_bucket(f"s3://{s3_bucket}/in", settings).list()]


def test_unknown_remote_bucket_is_not_found(settings, s3_bucket, s3_settings):
    """Not found is the user's mistake, exit code 2."""
    with pytest.raises(NotFoundError, match=f"Did you mean '{s3_bucket}'"):
        open_bucket(s3_bucket + "x", dataclasses.replace(settings, s3=s3_settings))


def test_failing_remote_store_leaves_the_folders(settings):
    """The error goes where it is asked for; the folders are offered all the same."""
    settings = dataclasses.replace(settings, s3=S3Settings("b", "k", "s", "http://127.0.0.1:9"))
    errors = []

    assert 3 == len(list_buckets(settings, on_error=errors.append))
    assert isinstance(errors[0], OutsideError)
    with pytest.raises(OutsideError):
        list_buckets(settings)


def test_store_for_runs_may_be_made(tmp_path):
    """A runs folder comes into being with the first run; a bucket folder must exist."""
    open_store(tmp_path / "runs", Settings(), create=True).write("1/run.json", b"{}")

    assert (tmp_path / "runs" / "1" / "run.json").is_file()
    assert isinstance(open_store("s3://b/p", Settings()), S3Store)
    assert isinstance(open_store(tmp_path, Settings()), FolderStore)
    for wrong in ("s3://", "ftp://x"):
        with pytest.raises(InputError):
            open_store(wrong, Settings())


def test_command_line_lists_folders_and_says_what_failed(settings, monkeypatch, capsys):
    """`visrec buckets --json`: one document on standard output, the sentence on standard error, exit code 3."""
    monkeypatch.setenv("VISREC_BUCKETS", ":".join(map(str, settings.buckets)))
    monkeypatch.setenv("ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ACCESS_KEY_ID", "k")
    monkeypatch.setenv("SECRET_ACCESS_KEY", "hush")

    code = run(["buckets", "--json"])
    out, err = capsys.readouterr()

    assert 3 == code
    assert 3 == len(json.loads(out))
    assert "could not be reached" in err
    assert "hush" not in out + err
