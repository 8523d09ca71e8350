"""One contract for all stores: a folder, a bucket, a bucket below a prefix."""

import pytest

from visrec.errors import InputError, NotFoundError
from visrec.storage.base import Store
from visrec.storage.folder import FolderStore
from visrec.storage.s3 import S3Store

HARD_KEYS = [
    "a b.jpg",
    "ü/日本 語.png",
    "x+y&z=1.txt",
    "100%.csv",
    "deep/er/and/deeper.bin",
    "quote'\"s.txt",
    "#hash?.jpg",
]
STRANGE_KEYS = ["a//b", "../x", "/x", "x/", "a/./b"]


@pytest.fixture(params=["folder", "s3", "s3-prefix"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "folder":
        return FolderStore(tmp_path)
    bucket, settings = request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_settings")
    return S3Store(bucket, "some/where" if request.param == "s3-prefix" else "", settings)


def keys(store, prefix=""):
    return [info.key for info in store.list(prefix)]


def test_every_store_keeps_the_protocol(store):
    """The rest of visrec relies on nothing but the protocol."""
    assert isinstance(store, Store)


def test_what_was_written_is_read(store):
    """Any bytes, none included."""
    for key, data in {"one": b"1", "zero": b"", "binary": bytes(range(256))}.items():
        store.write(key, data)

        assert data == store.read(key)


def test_writing_again_replaces(store):
    """The tag changes with the bytes, so that a prepared data set is made anew."""
    store.write("k", b"old")
    before = next(store.list()).etag
    store.write("k", b"new!")

    assert b"new!" == store.read("k")
    assert before != next(store.list()).etag


def test_spaces_unicode_and_signs_are_keys_like_others(store):
    """Real buckets hold them; each must be listed and read under its own name."""
    for key in HARD_KEYS:
        store.write(key, key.encode())

    assert sorted(HARD_KEYS) == keys(store)
    assert {key: key.encode() for key in HARD_KEYS} == dict(store.read_many(HARD_KEYS))


def test_listing_is_sorted_sized_and_filtered_by_prefix(store):
    """A prefix need not end at a slash, as in S3."""
    for key in ["b/2", "a", "b/1", "bc", "b.txt"]:
        store.write(key, key.encode())

    assert ["a", "b.txt", "b/1", "b/2", "bc"] == keys(store)
    assert ["b.txt", "b/1", "b/2", "bc"] == keys(store, "b")
    assert ["b/1", "b/2"] == keys(store, "b/")
    assert [] == keys(store, "c/")
    assert [1, 5, 3, 3, 2] == [info.size for info in store.list()]


def put_quickly(store, key, data):
    """Put an object into the server's own memory: it lives in this process, and a thousand requests take seconds."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(store.bucket, store.prefix + key, data)


def test_listing_goes_beyond_a_page(store):
    """S3 answers a thousand keys at a time."""
    root = store.local_path("")
    for number in range(1005):
        if root:
            (root / f"{number:05}").write_bytes(b"x")
        else:
            put_quickly(store, f"{number:05}", b"x")

    assert [f"{number:05}" for number in range(1005)] == keys(store)


def test_missing_key_is_named(store):
    """The message says which key, and where."""
    with pytest.raises(NotFoundError, match="no 'nothing/here'"):
        store.read("nothing/here")


def test_one_failure_never_ends_the_rest(store):
    """A bad object is set aside; the others arrive."""
    for number in range(50):
        store.write(f"{number}", b"x" * number)

    found = dict(store.read_many([*map(str, range(50)), "gone", "gone/too"]))

    assert 52 == len(found)
    assert isinstance(found["gone"], NotFoundError)
    assert isinstance(found["gone/too"], NotFoundError)
    assert all(b"x" * n == found[str(n)] for n in range(50))


def test_reading_many_can_be_stopped(store):
    """`stop` ends the reading long before the last key."""
    for number in range(40):
        store.write(f"{number}", b"x")
    seen = []

    for key, _ in store.read_many(map(str, range(40)), stop=lambda: len(seen) >= 3):
        seen.append(key)

    assert 3 <= len(seen) < 40


def test_reading_many_takes_keys_as_they_are_needed(store):
    """Memory is bounded: an endless stream of keys is not read ahead to its end."""
    store.write("k", b"x")
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield "k"

    reads = store.read_many(endless())
    for _ in range(5):
        next(reads)
    reads.close()

    assert taken < 200


def test_deleting_is_idempotent(store):
    """Deleting what is not there is no error."""
    store.write("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")

    assert not store.exists("a/b")
    assert [] == keys(store)


def test_existence_is_that_of_objects(store):
    """A folder is no object."""
    store.write("a/b", b"x")

    assert store.exists("a/b")
    assert not store.exists("a")
    assert not store.exists("a/c")


def test_sub_store_has_its_own_root(store):
    """Keys of a sub store are relative to it, and it sees nothing beside."""
    store.write("runs/1/a.txt", b"in")
    store.write("runs/11/a.txt", b"beside")
    below = store.sub("runs/1")
    below.write("deep/b.txt", b"new")

    assert ["a.txt", "deep/b.txt"] == keys(below)
    assert b"new" == store.read("runs/1/deep/b.txt")
    assert keys(below) == keys(store.sub("runs").sub("1/"))


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_strange_key_is_kept_faithfully_or_refused(store, key):
    """An object store may hold any key; a folder refuses those it would have to bend, and nothing leaves the root."""
    if isinstance(store, FolderStore):
        with pytest.raises(InputError, match="cannot be a key"):
            store.write(key, b"x")
        with pytest.raises(InputError, match="cannot be a key"):
            store.read(key)
        assert [] == list(store.root.parent.glob("x"))
    else:
        store.write(key, b"faithful")

        assert [key] == keys(store)
        assert [(key, b"faithful")] == list(store.read_many([key]))
