"""Tests for visrec.data.recipes and fairface_parquet: the Parquet copy becomes FairFace's own layout."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visrec import cli
from visrec.data import recipes
from visrec.data.demo import make_tiny_bucket
from visrec.data.fairface import AGES
from visrec.data.fairface_parquet import CODES, convert
from visrec.data.layouts import read_bucket
from visrec.data.recipes import FAIRFACE, REVISION, recipe_for
from visrec.errors import InputError
from visrec.storage.folder import FolderStore


def parquet(path, rows, names=None):
    table = pa.Table.from_pylist(rows)
    if names:
        features = {"info": {"features": {k: {"names": v, "_type": "ClassLabel"} for k, v in names.items()}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=7)
    return path


def coded(bucket, split, codes=CODES):
    """The rows of a split as the Parquet copy writes them."""
    table = read_bucket(FolderStore(bucket)).samples
    rows = table[table["split"] == split].sort_values(
        "file", key=lambda f: f.str.extract(r"(\d+)", expand=False).astype(int)
    )
    return [
        {
            "image": {"bytes": (bucket / r["file"]).read_bytes(), "path": r["file"].rpartition("/")[2]},
            **{name: words.index(r[name]) for name, words in codes.items()},
            "service_test": r["service_test"] == "True",
        }
        for r in rows.to_dict("records")
    ]


@pytest.mark.parametrize("described", [False, True])
def test_round_trip_gives_the_same_bucket(tmp_path, described):
    """Images byte for byte, labels word for word; codes in another order are read by the file's own description."""
    bucket = make_tiny_bucket(tmp_path / "bucket", 20)
    codes = {name: words[::-1] for name, words in CODES.items()} if described else CODES
    train, val = coded(bucket, "train", codes), coded(bucket, "val", codes)
    files = [
        parquet(tmp_path / "000-train-00000-of-00002-ab.parquet", train[:9], codes if described else None),
        parquet(tmp_path / "001-train-00001-of-00002-cd.parquet", train[9:], codes if described else None),
        parquet(tmp_path / "002-validation-00000-of-00001-ef.parquet", val, codes if described else None),
    ]
    (tmp_path / "made").mkdir()
    convert(files, tmp_path / "made")

    made = read_bucket(FolderStore(tmp_path / "made"))
    original = read_bucket(FolderStore(bucket)).samples
    assert ("fairface", []) == (made.layout, made.problems)
    columns = ["file", "split", "age", "gender", "race", "service_test"]
    assert original[columns].equals(made.samples[columns])
    for key in original["file"]:
        assert (bucket / key).read_bytes() == (tmp_path / "made" / key).read_bytes()


def test_fairface_is_fetched_from_a_web_server_by_its_name(tmp_path, monkeypatch, capsys):
    """``visrec fetch fairface NAME``: all files of the recipe over HTTP, and the bucket is FairFace's."""
    bucket, web = make_tiny_bucket(tmp_path / "bucket", 20), tmp_path / "web"
    train, val = coded(bucket, "train"), coded(bucket, "val")
    (web / "0.25").mkdir(parents=True)
    for file, rows in zip(FAIRFACE["0.25"], (train[:9], train[9:], val), strict=True):
        parquet(web / "0.25" / file, rows)
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=web))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(recipes, "PLACE", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VISREC_BUCKETS", str(tmp_path / "buckets"))
    monkeypatch.setenv("VISREC_CACHE", str(tmp_path / "cache"))
    try:
        assert cli.run(["fetch", "fairface", "mine", "--json"]) == 0
    finally:
        server.shutdown()
        server.server_close()

    made = json.loads(capsys.readouterr().out)
    assert made["images"] == len(train) + len(val)
    table = read_bucket(FolderStore(tmp_path / "buckets" / "mine"))
    assert ("fairface", []) == (table.layout, table.problems)
    assert sorted(asked) == sorted(f"/0.25/{file}" for file in FAIRFACE["0.25"])


def test_codes_are_those_of_the_published_copy():
    """As its data card numbers them."""
    assert ("0-2", "more than 70") == (AGES[0], AGES[-1])
    assert ["Male", "Female"] == CODES["gender"]
    assert "Black" == CODES["race"][2]
    assert "Southeast Asian" == CODES["race"][6]


ROW = {"image": {"bytes": b"x", "path": "1.jpg"}, "age": 1, "gender": 0, "race": 0, "service_test": True}


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [("train-0.parquet", {"age": 1}, "no column"), ("faces.parquet", ROW, "does not say its split"),
     ("train-0.parquet", {**ROW, "race": 9}, "code 9"),
     ("train-0.parquet", {**ROW, "image": {"path": "1.jpg"}}, "no image bytes")],
)  # fmt: skip
def test_other_parquet_is_refused_with_a_sentence(tmp_path, name, row, words):
    """What came and what was expected."""
    (tmp_path / "made").mkdir()
    with pytest.raises(InputError, match=words):
        convert([parquet(tmp_path / name, [row])], tmp_path / "made")


def test_damaged_parquet_is_refused(tmp_path):
    """Cut at its end."""
    path = parquet(tmp_path / "train-0.parquet", [ROW])
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "made").mkdir()

    with pytest.raises(InputError, match="not a whole Parquet file"):
        convert([path], tmp_path / "made")


def test_fairface_is_pinned():
    """Every link names the revision, train before validation; a mirror may stand in."""
    links = recipe_for("fairface").links

    assert 3 == len(links)
    assert all(REVISION in link and "/0.25/" in link for link in links)
    assert 5 == len(recipe_for("fairface-1.25").links)
    assert f"http://mirror/0.25/{FAIRFACE['0.25'][0]}" == recipe_for("fairface", place="http://mirror").links[0]


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [("https://h/a.zip", None, "archive"), ("https://h/train.parquet?x=1", None, "fairface"),
     ("https://h/a.zip", "cloud-annotations", "cloud-annotations")],
)  # fmt: skip
def test_recipe_is_told_by_the_link(url, name, expected):
    """Or by name."""
    assert (expected, (url,)) == (recipe_for(url, name).name, recipe_for(url, name).links)


def test_unknown_recipe_names_those_there_are():
    """With the nearest."""
    with pytest.raises(InputError, match="Did you mean 'fairface'"):
        recipe_for("https://h/a.zip", "fairfaces")
