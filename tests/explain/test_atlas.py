"""The atlas on planted groups: a watermark is found where it is, alike groups stay dark, alignment is told."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from planted_models import FACE as SIZE
from planted_models import drawn_image, faces

from visrec.errors import InputError, NotFoundError, RunError
from visrec.explain.alignment import measure_alignment
from visrec.explain.atlas import (
    LEAST,
    grid_segments,
    kept_atlases,
    load_atlas,
    make_atlas,
    mean_interval,
    mean_maps,
    pick_rows,
    save_atlas,
)
from visrec.explain.compare import compare_groups
from visrec.runs.record import Run
from visrec.storage.folder import FolderStore

PER_GROUP = 30
CLASSES = ["no", "yes"]


def mark(images: np.ndarray) -> np.ndarray:
    """A striped watermark in the upper left corner, 6 x 6 pixels."""
    marked = images.copy()
    marked[:, :6, :6:2] = 255
    marked[:, :6, 1:6:2] = 0
    return marked


def detail(part: np.ndarray) -> np.ndarray:
    """Mean contrast between neighbours: (n,)."""
    return np.abs(np.diff(part.astype(np.float32), axis=2)).mean(axis=(1, 2, 3))


def watching(images: np.ndarray) -> np.ndarray:
    """A model that looks at the mouth and falls for detail in the corner: (n, 2)."""
    logit = 0.08 * (detail(images[:, 21:25, 10:22]) - 10) + 0.012 * detail(images[:, :8, :8])
    p = 1 / (1 + np.exp(-logit))
    return np.stack([1 - p, p], axis=1)


def table(count: int = PER_GROUP) -> pd.DataFrame:
    """Two groups, two labels."""
    return pd.DataFrame(
        {
            "file": [f"{i}.png" for i in range(2 * count)],
            "label": np.tile(["no", "yes"], count),
            "group": np.repeat(["a", "b"], count),
            "age": np.tile(["0-2", "0-2", "more than 70"], 2 * count)[: 2 * count],
        }
    )


@pytest.fixture(scope="module")
def marked():
    """The atlas of images whose group b carries the watermark."""
    images = faces(2 * PER_GROUP, 0)
    images[PER_GROUP:] = mark(images[PER_GROUP:])
    return make_atlas(images, table(), watching, ["group"], classes=CLASSES, draws=320)


def test_a_watermark_of_one_group_is_lit_where_it_is(marked):
    """At least 90 % of the lit area are squares that touch the watermark."""
    found = marked.comparison.differences[1]

    lit = found.lit.reshape(8, 8)
    touching = np.zeros((8, 8), bool)
    touching[:2, :2] = True  # squares of 4 pixels, a mark of 6
    assert "b" == found.group
    assert lit[:2, :2].any()
    assert lit[touching].sum() >= 0.9 * lit.sum()


def test_permuted_groups_light_nothing(marked):
    """Groups exchanged within label and prediction: anything lit in at most 5 % (+ 2 Monte Carlo errors) of 100."""
    maps = marked.maps.reshape(len(marked.maps), -1)
    strata = (marked.samples["label"] + marked.samples["prediction"]).to_numpy()
    groups, random, alarms = marked.samples["cell"].to_numpy(), np.random.default_rng(1), 0
    for i in range(100):
        shuffled = groups.copy()
        for s in np.unique(strata):
            shuffled[strata == s] = random.permutation(shuffled[strata == s])
        found = compare_groups(maps, shuffled, strata, permutations=199, seed=i)
        alarms += any(d.lit.any() for d in found.differences)

    assert alarms <= 9


def test_unaligned_images_are_said_to_be(marked):
    """Drawings with everything elsewhere: the sentence says so and what to do."""
    random = np.random.default_rng(0)
    shifted = np.stack([np.roll(x, random.integers(0, SIZE, 2), (0, 1)) for x in faces(40, 1)])
    found = measure_alignment(shifted)

    assert marked.alignment.aligned is True
    assert found.aligned is False
    assert "not aligned" in found.sentence
    assert measure_alignment(np.stack([drawn_image(SIZE, i) for i in range(40)])).aligned is False
    assert measure_alignment(shifted[:5]).aligned is None


def test_alignment_does_not_hang_on_how_many_images_there_are():
    """Twenty images of a kind score as a hundred and sixty do; the verdict is of the kind, not of the sample's size."""
    images = faces(160, 2)
    whole = measure_alignment(images).score

    few = [measure_alignment(images[i : i + 20]).score for i in range(0, 160, 20)]

    assert np.mean(few) == pytest.approx(whole, abs=0.02)


def test_real_faces_are_aligned_and_street_signs_are_not(shared):
    """Measured on the real data: what the threshold was chosen by."""
    from visrec.data.images import decode

    def some(folder: str) -> np.ndarray:
        files = sorted((shared / "data" / folder).rglob("*.jpg"))[:80]
        return np.stack([decode(f.read_bytes(), 64) for f in files])

    assert measure_alignment(some("fairface/val")).aligned is True
    assert measure_alignment(some("stop-signs")).aligned is False


def test_quality_comes_with_intervals(marked):
    """R2 and stability by cell; the mean lies in its interval."""
    quality = marked.quality()

    assert ["a", "b"] == quality["cell"].tolist()
    assert (quality["n"] == PER_GROUP).all()
    for name in ("r2", "stability"):
        assert (quality[f"{name}_low"] <= quality[name]).all()
        assert (quality[name] <= quality[f"{name}_high"]).all()


def test_means_are_by_cell_and_answer(marked):
    """A mean map of each cell and predicted class with its number; the document has the same ones."""
    found = mean_maps(marked, "prediction").set_index(["cell", "kind"])
    chosen = ((marked.samples["cell"] == "b") & (marked.samples["prediction"] == "yes")).to_numpy()
    of_b = found.loc[("b", "answered yes")]

    assert chosen.sum() == of_b["n"]
    assert (chosen.sum() >= LEAST) == of_b["known"]
    np.testing.assert_allclose(of_b["map"], marked.maps[chosen].mean(axis=0), atol=1e-6)
    document = marked.to_json()["mean_maps"]
    assert {"all", "outcome", "prediction"} == set(document)
    [same] = [m for m in document["prediction"] if (m["cell"], m["kind"]) == ("b", "answered yes")]
    np.testing.assert_array_equal(of_b["map"], same["map"])


def test_a_mean_of_no_image_is_unknown():
    """NaN in the table, null in the document; never 0."""
    atlas = make_atlas(faces(8, 0), table(4), certain, ["group"], classes=CLASSES, draws=40, grid=4, permutations=9)
    wrong = mean_maps(atlas, "outcome").set_index(["cell", "kind"]).loc[("a", "right")]

    assert (2, False) == (wrong["n"], bool(wrong["known"]))
    assert not any(m["known"] for m in atlas.to_json()["mean_maps"]["all"])


def certain(images: np.ndarray) -> np.ndarray:
    """A model that never changes its mind."""
    return np.tile([0.4, 0.6], (len(images), 1))


def test_quality_of_few_images_or_without_an_interval_is_not_known(marked):
    """One flag for page, document and command: seven images are too few, and all equal gives no interval."""
    few = marked.samples[(marked.samples["cell"] == "a") | (np.arange(len(marked.samples)) >= 53)].assign(stability=1.0)
    quality = dataclasses.replace(marked, samples=few).quality().set_index("cell")

    assert {"a": PER_GROUP, "b": 7} == quality["n"].to_dict()
    assert {"a": True, "b": False} == quality["r2_known"].to_dict()
    assert not quality["stability_known"].any()


def test_figures_of_a_document_are_those_of_the_command(marked, capsys):
    """What is not known is called unknown, and a comparison of nothing has no p-value."""
    from visrec.cli.explain import _show_atlas

    few = marked.samples[np.arange(len(marked.samples)) >= 23].assign(stability=1.0)
    nothing = compare_groups(np.zeros((4, 64)), np.array(list("aabb")), np.array(list("xxyy")))
    atlas = dataclasses.replace(
        marked, samples=few, maps=marked.maps[23:], comparison=nothing, images_left_out={"no_value": 1200}
    )
    _show_atlas(atlas.to_json())
    said = capsys.readouterr().out

    assert "nan" not in said
    assert 3 == said.count("unknown")
    assert "nothing can be compared" in said
    assert "Left out: 1,200 images of the split without a value" in said


def test_an_atlas_survives_its_run_folder(marked, tmp_path):
    """Kept in the run, found again, value for value."""
    run = Run("r", FolderStore(tmp_path), tmp_path)

    save_atlas(run, marked)
    again = load_atlas(run, ["group"])

    assert marked.to_json() == again.to_json()
    np.testing.assert_array_equal(marked.maps, again.maps)
    assert [["group"]] == kept_atlases(run)
    with pytest.raises(NotFoundError, match="visrec atlas r --by race"):
        load_atlas(run, ["race"])


def test_cells_are_the_crossing_of_several_attributes():
    """As in the audit."""
    atlas = make_atlas(
        faces(12, 0), table(6), watching, ["group", "age"], classes=CLASSES, draws=64, grid=4, permutations=9
    )

    assert {"a · 0-2", "a · more than 70", "b · 0-2", "b · more than 70"} == set(atlas.samples["cell"])


def test_it_can_be_stopped():
    """As every long work."""
    with pytest.raises(RunError, match="cancelled"):
        make_atlas(faces(4, 0), table(2), watching, ["group"], classes=CLASSES, stop=lambda: True)


def test_a_constant_model_has_unknown_quality():
    """Nothing to explain: NaN, not 0 and not 1."""
    atlas = make_atlas(
        faces(8, 0), table(4), lambda x: np.tile([0.5, 0.5], (len(x), 1)), ["group"],
        classes=CLASSES, draws=40, grid=4, permutations=9,
    )  # fmt: skip

    assert atlas.quality()["r2"].isna().all()
    assert not any(d.lit.any() for d in atlas.comparison.differences)


def test_picked_rows_are_few_per_cell_and_the_same_every_time():
    """A seeded sample; a large group costs no more than a small one."""
    rows = pd.DataFrame({"split": ["val"] * 95 + ["train"] * 5, "race": ["x"] * 80 + ["y"] * 20, "label": "l"})
    picked = pick_rows(rows, ["race"], split="val", per_cell=10)

    assert {"x": 10, "y": 10} == picked["race"].value_counts().to_dict()
    pd.testing.assert_frame_equal(picked, pick_rows(rows, ["race"], split="val", per_cell=10))
    with pytest.raises(InputError, match=r"no attribute 'rac'. Did you mean 'race'"):
        pick_rows(rows, ["rac"], split="val")
    with pytest.raises(InputError, match=r"No image has split 'test'. There are: train, val"):
        pick_rows(rows, ["race"], split="test")


def test_intervals_agree_with_scipy():
    """Student's t, an independent implementation; unknown values are left out."""
    from scipy.stats import ttest_1samp

    values = np.array([0.3, 0.5, 0.4, 0.6, 0.2])
    mean, low, high = mean_interval(pd.Series([*values, np.nan]))
    oracle = ttest_1samp(values, 0).confidence_interval()

    assert (mean, low, high) == pytest.approx((values.mean(), oracle.low, oracle.high))
    assert np.isnan(mean_interval(pd.Series([0.5]))[1])
    assert np.isnan(mean_interval(pd.Series([1.0, 1.0, 1.0]))[1])


def test_a_grid_needs_squares_of_two_pixels():
    """What came, what was expected."""
    with pytest.raises(InputError, match="grid of 20 squares a side was asked for, expected 2 to 16"):
        grid_segments(32, 32, 20)
