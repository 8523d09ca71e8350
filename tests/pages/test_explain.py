"""The Explain page, with a model that was really trained: an image in, an answer and its reasons out."""

import io

import numpy as np
import pytest
from PIL import Image

from visrec.runs.record import open_runs

PAGE = "pages/trust/explain.py"


@pytest.fixture
def tiny_app(app, tiny_settings, tiny_run, monkeypatch):
    """The dashboard over the tiny trained run."""
    monkeypatch.setenv("VISREC_BUCKETS", str(tiny_settings.buckets[0]))
    monkeypatch.setenv("VISREC_RUNS", tiny_settings.runs)
    monkeypatch.setenv("VISREC_CACHE", str(tiny_settings.cache))
    app.run()
    app.switch_page(PAGE).run()
    return app


def photo(size: tuple[int, int] = (90, 70)) -> bytes:
    """A PNG of seeded noise on a gradient."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, size[0])[None, :, None] + rng.integers(0, 55, (size[1], size[0], 3))
    out = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def send(app, name: str, data: bytes, kind: str = "image/png"):
    """Upload a file."""
    app.file_uploader(key="explain_upload").set_value((name, data, kind))
    return app.run()


def test_uploaded_image_is_answered_and_explained(tiny_app):
    """Prediction with every class's score, the overlay, the badge, both downloads."""
    send(tiny_app, "me.png", photo())

    assert not tiny_app.exception
    assert not tiny_app.error
    assert tiny_app.metric[0].value in ("neutral", "smiling")
    [scores] = [d.value for d in tiny_app.dataframe if "score" in d.value]
    assert abs(scores["score"].sum() - 1) < 1e-5
    assert {"Download PNG", "Download JSON"} <= {b.label for b in tiny_app.get("download_button")}
    assert {"Superpixels", "Opacity"} <= {s.label for s in tiny_app.slider}


def test_sliders_redraw_and_do_not_recompute(tiny_app, monkeypatch):
    """After the first drawing the model is not asked again, whatever slider moves."""
    send(tiny_app, "me.png", photo())

    def never(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("visrec.explain.lime_image.explain_image", never)
    tiny_app.slider(key="explain_opacity").set_value(0.9)
    tiny_app.slider(key="explain_top").set_value(3).run()

    assert not tiny_app.error
    assert not tiny_app.exception


def test_same_explanation_as_the_engine(tiny_app, tiny_run):
    """Page and command line: one engine, one number."""
    from visrec.explain.lime_image import explain_image
    from visrec.explain.upload import read_upload
    from visrec.model.predict import load_predictor

    send(tiny_app, "me.png", photo())
    [kept] = tiny_app.session_state["_explanations"].values()
    predictor = load_predictor(tiny_run)
    direct = explain_image(read_upload(photo(), "me.png", predictor.image_size), predictor, samples=1000, seed=0)

    assert np.array_equal(direct.weights, kept.weights)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("notes.png", b"these are my notes\n" * 20, "is a text file"),
        ("empty.png", b"", "is empty"),
        ("huge.png", bytes(30_000_000), "is 30 MB, expected at most 20 MB"),
        ("cut.png", photo()[:200], "damaged"),
    ],
)
def test_bad_upload_is_a_sentence(tiny_app, name, data, says):
    """What came, what was expected, how to mend it; nothing else on the page breaks."""
    send(tiny_app, name, data)

    assert not tiny_app.exception
    [error] = tiny_app.error
    assert says in error.value.replace("\\", "")


def test_test_images_come_with_the_surest_wrong_answers_first(tiny_app, tiny_run):
    """Whoever looks for trouble finds it at the top."""
    tiny_app.segmented_control(key="source").set_value("test").run()
    rows = tiny_run.predictions()
    rows = rows[rows["split"] == "val"]
    wrong = int((rows["label"] != rows["prediction"]).sum())

    picks = [b for b in tiny_app.button if str(b.key).startswith("pick_")]
    assert 12 == len(picks)
    first = rows[rows["file"] == picks[0].key.removeprefix("pick_")].iloc[0]
    assert (first["label"] != first["prediction"]) == (wrong > 0)


def test_picked_test_image_is_in_the_url_and_says_whether_it_is_right(tiny_app, tiny_run):
    """A link to one answer can be sent."""
    tiny_app.segmented_control(key="source").set_value("test").run()
    pick = next(b for b in tiny_app.button if str(b.key).startswith("pick_"))
    pick.click().run()

    assert not tiny_app.error
    assert pick.key.removeprefix("pick_") == tiny_app.query_params["file"]
    assert any("the label says" in m.value for m in tiny_app.markdown)


def test_unknown_test_image_in_the_url_is_a_sentence(tiny_app):
    """The bucket may have changed since the link was sent."""
    tiny_app.query_params["file"] = "val/nobody.jpg"
    tiny_app.session_state["source"] = "test"
    tiny_app.run()

    assert any("val/nobody.jpg" in e.value.replace("\\", "") for e in tiny_app.error)


def test_table_without_model_says_so(app, places):
    """An imported table can be audited and not asked; the page says what to choose instead."""
    from tests.pages.conftest import drawn_predictions

    run = open_runs(places).create({"kind": "imported-table", "labels": ["Female", "Male"]}, "table")
    from visrec.runs.status import Status

    run.write_status(Status("done", heartbeat=1.0))
    run.write_table("predictions.parquet", drawn_predictions())
    app.run()
    app.switch_page(PAGE).run()

    assert any("No model to ask" in s.value for s in app.subheader)
