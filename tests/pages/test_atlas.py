"""The Atlas page over a run whose atlas is made by a planted model: its pictures, its states, its job."""

import io
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import visrec.explain.atlas_job as atlas_job
from visrec.explain.atlas import load_atlas, mean_maps
from visrec.runs.record import open_runs
from visrec.runs.status import Status
from visrec.ui import atlas_job_view, atlas_view, cached

PAGE = "pages/trust/atlas.py"
CORNER = slice(0, 8)


class Planted:
    """A model of the contract that only looks at how lively the top left corner is."""

    labels = ["lively", "flat"]
    image_size = 32
    engine = "planted"

    def __call__(self, images):
        lively = np.asarray(images, np.float32)[:, CORNER, CORNER].std(axis=(1, 2, 3)) / 128
        return np.stack([lively, 1 - lively], axis=1).astype(np.float32)


def drawn(i: int, marked: bool) -> bytes:
    """Noise, which no two images share; marked ones have black and white noise in the corner."""
    rng = np.random.default_rng(i)
    pixels = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    if marked:
        pixels[CORNER, CORNER] = 255 * rng.integers(0, 2, (8, 8, 3))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def planted(places, monkeypatch):
    """A finished run on 64 val images of two groups, one of them marked, with a planted model."""
    monkeypatch.setattr(atlas_job, "_predictor", lambda run, settings: Planted())
    monkeypatch.setattr(cached, "predictor", lambda run_id: Planted())
    bucket = places.buckets[0] / "b"
    bucket.mkdir()
    rows = []
    for i in range(64):
        (bucket / f"{i}.png").write_bytes(drawn(i, marked=i % 2 == 0))
        rows.append(
            {
                "file": f"{i}.png", "split": "val", "label": "lively", "prediction": "lively",
                "score:lively": 0.8, "score:flat": 0.2, "race": "ab"[i % 2], "age": ["3-9", "20-29"][i // 32],
            }
        )  # fmt: skip
    run = open_runs(places).create(
        {"kind": "trained", "bucket": str(bucket), "labels": Planted.labels, "by": ["race"],
         "attributes": ["race", "age"], "image_size": 32},
        "planted",
    )  # fmt: skip
    run.write_table("predictions.parquet", pd.DataFrame(rows))
    run.store.write("model.keras", b"planted")
    run.write_status(Status("done", heartbeat=time.time()))
    return run


@pytest.fixture
def made(planted, places):
    """The same run with its atlas by race, on a grid of 4."""
    atlas_job.make(planted, places, ["race"], grid=4, permutations=1999)
    return planted


def open_atlas(app):
    """The page, opened as a visitor does."""
    app.run()
    return app.switch_page(PAGE).run()


def texts(app) -> str:
    """All that the page says."""
    return "\n".join(e.value for kind in ("caption", "markdown", "info", "warning", "error", "subheader")
                     for e in getattr(app, kind))  # fmt: skip


def test_a_made_atlas_is_shown_with_maps_differences_quality_and_tables(app, made):
    """Everything an atlas tells, and its numbers as tables with their CSV."""
    open_atlas(app)

    assert not app.exception
    assert not app.error
    said = texts(app)
    assert "64 images of split val" in said
    assert "Somewhere the groups differ by more than chance" in said
    assert "Unlit (hatched) squares: cannot tell" in said
    csv = [b.label for b in app.get("download_button")]
    assert csv.count("Download CSV") == 3
    shown = [d.value for d in app.dataframe]
    assert any({"lit", "p", "difference"} <= set(t.columns) for t in shown)
    assert any({"r2", "stability_low"} <= set(t.columns) for t in shown)


def test_unaligned_images_are_said_to_be_unaligned(app, made):
    """Noise shares no detail, and a mean map over it means little: a warning comes first."""
    open_atlas(app)

    assert any("not aligned" in w.value for w in app.warning)


def test_differences_table_is_the_atlas_own(app, made):
    """The page shows the engine's numbers, not ones of its own."""
    atlas = load_atlas(made, ["race"])
    open_atlas(app)

    [table] = [d.value for d in app.dataframe if "difference" in d.value]
    first = table[table["group"] == "a"]
    np.testing.assert_array_equal(first["difference"], atlas.comparison.differences[0].value)
    np.testing.assert_array_equal(first["lit"], atlas.comparison.differences[0].lit)


def test_permuted_groups_light_nothing_and_the_page_says_cannot_tell(app, planted, places):
    """By age nothing was planted: no map of differences is drawn, and the words are not "the same"."""
    atlas_job.make(planted, places, ["age"], grid=4, permutations=199)
    open_atlas(app)
    app.multiselect(key="atlas_by").set_value(["age"]).run()

    atlas = load_atlas(planted, ["age"])
    assert not any(d.lit.any() for d in atlas.comparison.differences)
    assert any("Cannot tell that any group differs" in i.value for i in app.info)
    assert "squares lit" not in texts(app)


def test_mean_maps_are_means_of_the_maps(made):
    """Split by outcome: right and wrong answers apart, unknown where there is none."""
    atlas = load_atlas(made, ["race"])
    found = mean_maps(atlas, "outcome").set_index(["cell", "kind"])

    right = (atlas.samples["cell"] == "a") & (atlas.samples["prediction"] == atlas.samples["label"])
    np.testing.assert_allclose(found.loc[("a", "right"), "map"], atlas.maps[right].mean(axis=0), atol=1e-6)
    assert found.loc[("a", "wrong"), "n"] + found.loc[("a", "right"), "n"] == 32
    empty = found.loc[("a", "wrong")]
    assert empty["n"] > 0 or np.isnan(empty["map"]).all()


def test_unlit_squares_have_no_colour(made):
    """Cannot tell must not look like a value: red, green and blue are equal there."""
    atlas = load_atlas(made, ["race"])
    values, lit = np.full((4, 4), 0.5), np.zeros((4, 4), bool)
    lit[0, 0] = True
    image = atlas_view.draw_difference(atlas, values, lit, 0.5)

    quarter = atlas_view.DRAWN // 4
    outside = image[quarter + 4 :, quarter + 4 :]
    assert (outside == outside[..., :1]).all()
    inside = image[quarter // 2, quarter // 2].astype(int)
    assert inside.max() - inside.min() > 40


def test_without_an_atlas_one_button_starts_the_job(app, planted, monkeypatch):
    """The empty state says what an atlas is, how many images and how long, and starts with these."""
    asked = []
    monkeypatch.setattr(atlas_job, "start", lambda run, settings, by, per_cell: asked.append((run.id, by, per_cell)))
    open_atlas(app)

    assert any("No atlas by race yet" in s.value for s in app.subheader)
    assert "64 images of split val in 2 groups: about" in texts(app)
    app.number_input(key="atlas_images").set_value(20)
    app.button(key="atlas_start").click().run()
    assert asked == [(planted.id, ["race"], 20)]


def test_running_job_is_followed_and_can_be_cancelled(app, planted):
    """Progress in words, and a cancel request beside the status."""
    job = atlas_job.job_of(planted, ["race"])
    now = time.time()
    job.write_status(Status("running", stage="explain", progress=0.4, stage_progress=0.4, heartbeat=now, started=now))
    open_atlas(app)

    assert any("Making the atlas by race" in s.value for s in app.subheader)
    app.button(key="atlas_cancel").click().run()
    assert job.store.exists("cancel.json")
    assert job.status().state == "cancelling"
    assert not app.exception


@pytest.mark.parametrize(
    ("state", "says"),
    [("failed", "The last attempt failed: No space left"), ("cancelled", "was cancelled"), ("lost", "fell silent")],
)
def test_each_bad_end_has_a_sentence_and_the_button_again(app, planted, state, says):
    """A job that came to nothing is no dead end."""
    job = atlas_job.job_of(planted, ["race"])
    written = "running" if state == "lost" else state
    job.write_status(Status(written, heartbeat=1.0, started=1.0, error="No space left" if state == "failed" else ""))
    open_atlas(app)

    assert says in texts(app)
    assert app.button(key="atlas_start")


def test_run_without_attributes_or_model_is_an_empty_state(app, planted, run):
    """What is missing, and where to go."""
    open_atlas(app)
    app.session_state["_focus"] = run.id
    app.run()

    assert any("No model to ask" in s.value for s in app.subheader)


def test_estimate_grows_with_the_images(planted):
    """The time is told before the button is pressed; it rests on the model's own speed."""
    assert atlas_job_view.estimate(planted, 100, 2) > atlas_job_view.estimate(planted, 10, 2) > 0


def test_estimate_counts_the_comparison(planted):
    """With many groups the relabellings take longer than the images."""
    few, many = (atlas_job_view.estimate(planted, 3000, groups) for groups in (2, 63))

    assert many > few + 60


def test_images_that_dropped_out_are_said(app, planted, places):
    """Who has no value is in no group; that is told beside how many were looked at."""
    rows = planted.predictions()
    rows.loc[:4, "race"] = None
    planted.write_table("predictions.parquet", rows)
    atlas_job.make(planted, places, ["race"], grid=4, permutations=99)
    open_atlas(app)

    assert "Left out: 5 images of the split without a value" in texts(app)


def test_a_fault_in_the_mean_maps_is_a_sentence_on_the_page(app, made, monkeypatch):
    """The fragment is guarded as the others are: no traceback when it is drawn alone."""

    def broken(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(atlas_view, "mean_maps", broken)
    open_atlas(app)

    assert not app.exception
    assert any("reference" in e.value for e in app.error)
    assert "Where do the groups differ?" in texts(app)
