"""Tests for visrec.data.demo: the same every time, fair in its drawing, unfair only where it is written down."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import chi2_contingency

from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions
from visrec.cli import run
from visrec.data import demo, drawing
from visrec.data.demo import PLANTED, degrade, make_demo_buckets, make_mugs, make_tiny_bucket, people
from visrec.data.fairface import AGES, GENDERS, RACES
from visrec.data.layouts import read_bucket
from visrec.data.prepare import prepare
from visrec.data.split import assign_splits
from visrec.storage.folder import FolderStore

# drawing the buckets takes as long as all else here together: one worker does it, once
pytestmark = pytest.mark.xdist_group("demo_buckets")


@pytest.fixture(scope="module")
def buckets(tmp_path_factory):
    """The demo buckets as `visrec demo` makes them."""
    folder = tmp_path_factory.mktemp("demo")
    make_demo_buckets(folder)
    return folder


def test_same_bytes_every_time(tmp_path):
    """Every user, every machine: the same images and labels."""
    for name in "ab":
        make_tiny_bucket(tmp_path / name / "faces", 6)
        make_mugs(tmp_path / name / "mugs", 8)
    one, other = (
        {i.key: FolderStore(tmp_path / n).read(i.key) for i in FolderStore(tmp_path / n).list()} for n in "ab"
    )

    assert one == other
    assert len({data for key, data in one.items() if key.endswith("jpg")}) == 9 + 8


def test_faces_have_fairface_layout_and_its_words(buckets):
    """With one more column, which is the default target."""
    table = read_bucket(FolderStore(buckets / "demo-faces"))

    assert "fairface" == table.layout
    assert [] == table.problems
    assert "expression" == table.target
    assert set(AGES) == set(table.samples["age"])
    assert set(RACES) == set(table.samples["race"])
    assert set(GENDERS) == set(table.samples["gender"])
    assert demo.COUNTS == table.samples["split"].value_counts().to_dict()
    assert {"target", "by", "image_size", "alpha", "weights"} <= set(table.defaults)


def test_mugs_have_the_flaws_of_a_real_project(buckets):
    """Cloud Annotations, a few images unlabelled, a few entries dangling."""
    table = read_bucket(FolderStore(buckets / "demo-mugs"))

    assert "cloud_annotations" == table.layout
    assert {"unlabelled", "missing_file"} == {p.kind for p in table.problems}
    assert set(drawing.KITCHEN) == set(table.samples["label"])


def test_drawing_knows_nothing_of_the_person():
    """The avatar is drawn from dice and the expression; no attribute is ever passed."""
    assert ["rng", "smiling", "size"] == list(inspect.signature(drawing.avatar).parameters)
    assert not any(word in inspect.getsource(drawing).lower() for word in ('"race"', '"age"', '"gender"', "latino"))


@pytest.mark.parametrize("attribute", ["race", "age", "gender", "service_test"])
def test_attributes_say_nothing_of_the_expression(attribute):
    """Drawn by lot: no more association than chance."""
    table = people(4000, np.random.default_rng(1))

    assert chi2_contingency(pd.crosstab(table[attribute], table["expression"])).pvalue > 0.001


def test_planted_cells_are_large_enough_to_audit(buckets):
    """Where nothing could be supported, nothing could be found."""
    samples = read_bucket(FolderStore(buckets / "demo-faces")).samples
    judged = samples[samples["split"] == "val"]

    for planted in PLANTED:
        cell = np.logical_and.reduce([judged[a] == v for a, v in planted.where.items()])
        assert cell.sum() >= 50, planted.where


@pytest.mark.parametrize("condition", sorted({c.condition for c in PLANTED}))
def test_condition_leaves_size_and_mode_alone(condition):
    """Only the pixels change."""
    image = drawing.avatar(np.random.default_rng(0), True)
    worse = degrade(image, condition, 4.0, np.random.default_rng(1))

    assert (image.size, "RGB") == (worse.size, worse.mode)
    assert not np.array_equal(np.asarray(image), np.asarray(worse))


def test_unknown_condition_is_refused():
    """With those that exist."""
    with pytest.raises(ValueError, match="under_exposure, blur or noise"):
        degrade(Image.new("RGB", (4, 4)), "rain", 1.0, np.random.default_rng(0))


@pytest.fixture(scope="module")
def predictions(buckets, tmp_path_factory) -> pd.DataFrame:
    """What a plain model makes of the validation images: a logistic regression on 60 components of the lower face."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    store = FolderStore(buckets / "demo-faces")
    prepared = prepare(store, assign_splits(read_bucket(store)), 32, tmp_path_factory.mktemp("cache"))
    samples = prepared.samples
    faces = prepared.images[samples["row"].to_numpy(), 16:28, 6:26].astype(np.float32).reshape(len(samples), -1) / 255
    faces -= faces.mean(axis=1, keepdims=True)
    judged = (samples["split"] == "val").to_numpy()
    model = make_pipeline(PCA(60, random_state=0), LogisticRegression(C=0.1, max_iter=300))
    model.fit(faces[~judged], samples["label"][~judged])
    return samples[judged].assign(prediction=model.predict(faces[judged]))


def test_expression_can_be_learned_even_by_a_plain_model(predictions):
    """So the demo's network has an easy task."""
    assert (predictions["label"] == predictions["prediction"]).mean() > 0.85


@pytest.mark.parametrize("planted", PLANTED, ids=[" ".join(c.where.values()) for c in PLANTED])
def test_audit_finds_the_planted_cell(predictions, planted):
    """Whatever the model: the worst cell is the planted one, and its gap is supported."""
    by = list(planted.where)
    found = audit(load_predictions(predictions, label="label", prediction="prediction"), by=by).to_json(aif360=False)
    gap = next(g for g in found["gaps"] if g["rate"] == "accuracy")

    assert "supported" == gap["verdict"]
    assert " · ".join(planted.where.values()) == gap["worst"]


@pytest.mark.slow
def test_default_training_learns_and_its_audit_finds_the_planted_cells(buckets, tmp_path, monkeypatch, capsys):
    """The whole story with the real network: at least 0.85, and every planted cell at the bottom."""
    for name, value in {"BUCKETS": buckets, "RUNS": tmp_path / "runs", "CACHE": tmp_path / "cache"}.items():
        monkeypatch.setenv(f"VISREC_{name}", str(value))
    assert 0 == run(["train", "demo-faces", "--json"])
    trained = json.loads(capsys.readouterr().out)

    assert trained["metrics"]["val_accuracy"]["value"] >= 0.85
    for planted in PLANTED:
        assert 0 == run(["audit", trained["run"], "--by", ",".join(planted.where), "--no-aif360", "--json"])
        gap = next(g for g in json.loads(capsys.readouterr().out)["gaps"] if g["rate"] == "accuracy")
        assert ("supported", " · ".join(planted.where.values())) == (gap["verdict"], gap["worst"])
