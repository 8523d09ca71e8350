"""The Explain page, with a model that was really trained: an image in, an answer and its reasons out."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sending import photo, send, texts

from visrec.runs.record import open_runs

PAGE = "pages/trust/explain.py"


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
    ids=["text", "empty", "huge", "cut"],  # without them pytest spells out all the bytes
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


def test_pasted_image_is_answered_and_stays_for_the_visit(tiny_app):
    """The paste box hands its file over once; the page keeps it in the session, so a slider does not lose it."""
    tiny_app.segmented_control(key="source").set_value("paste").run()
    tiny_app.chat_input(key="explain_paste").upload("image.png", photo(), "image/png")
    tiny_app.run()
    assert tiny_app.metric[0].value in ("neutral", "smiling")

    tiny_app.run()
    assert tiny_app.metric[0].value in ("neutral", "smiling")
    assert not tiny_app.error


def test_pasted_text_is_told_to_be_text(tiny_app):
    """A copied address is no image."""
    tiny_app.segmented_control(key="source").set_value("paste").run()
    tiny_app.chat_input(key="explain_paste").set_value("https://example.org/me.png").run()

    [error] = tiny_app.error
    assert "That was text" in error.value


def test_confidence_is_the_calibrated_one_or_says_that_it_is_not(tiny_app, tiny_run):
    """The figure is `calibrate`'s; with too few tune images it is the score, called so."""
    from visrec.explain.calibration import calibrate

    send(tiny_app, "me.png", photo())
    found = calibrate(tiny_run.predictions(), tiny_run.labels())
    [kept] = tiny_app.session_state["_explanations"].values()
    figure = tiny_app.metric[1]

    assert figure.label == ("Confidence" if found.known else "Score")
    assert figure.value == f"{found.apply(kept.prediction).max():.1%}"


def test_accuracy_of_a_named_group_is_the_audits(tiny_app, tiny_run):
    """Chosen by the visitor, never guessed: nothing is chosen at first; then value and n are those of val rows."""
    send(tiny_app, "me.png", photo())
    assert tiny_app.selectbox(key="explain_group_race").value is None
    rows = tiny_run.predictions()
    rows = rows[rows["split"] == "val"]
    race = rows["race"].value_counts().index[0]
    tiny_app.number_input(key="min_count").set_value(1)
    tiny_app.selectbox(key="explain_group_race").set_value(race).run()

    part = rows[rows["race"] == race]
    right = (part["label"] == part["prediction"]).mean()
    [figure] = [m for m in tiny_app.metric if m.label.startswith("Accuracy")]
    assert figure.value == f"{right:.3f}, n = {len(part)}"
    assert "95 % interval" in texts(tiny_app)


def test_small_group_is_unknown_with_its_count(tiny_app, tiny_run):
    """Below the minimum count there is no figure, only the count."""
    send(tiny_app, "me.png", photo())
    tiny_app.number_input(key="min_count").set_value(10_000).run()

    [figure] = [m for m in tiny_app.metric if m.label.startswith("Accuracy")]
    assert figure.value.startswith("unknown, n = ")


def test_a_test_images_own_group_is_filled_in_only_on_request(tiny_app, tiny_run):
    """One button takes the bucket's labels, since the image has some."""
    tiny_app.segmented_control(key="source").set_value("test").run()
    pick = next(b for b in tiny_app.button if str(b.key).startswith("pick_"))
    pick.click().run()
    assert tiny_app.selectbox(key="explain_group_race").value is None
    tiny_app.button(key="explain_group_labelled").click().run()

    row = tiny_run.predictions().set_index("file").loc[pick.key.removeprefix("pick_")]
    assert tiny_app.selectbox(key="explain_group_race").value == row["race"]


@pytest.mark.parametrize(("fit", "square"), [("stretch", False), ("crop", True), ("pad", True)])
def test_what_is_painted_over_is_what_the_model_sees(fit, square):
    """A map of the model's square lies over the same part of the image, however a rectangle becomes that square."""
    from visrec.ui import explaining

    pixels = np.full((100, 300, 3), 60, np.uint8)
    pixels[30:60, 120:170] = (250, 40, 40)  # off the middle, so that a shift shows
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")

    found = explaining.picture(out.getvalue(), "wide.png", 48, fit=fit)

    seen = np.asarray(Image.fromarray(found.shown).resize((48, 48), Image.Resampling.BILINEAR), int)
    assert np.abs(seen - found.pixels).mean() < 4  # the edge of the padding falls between pixels
    assert square == (found.shown.shape[0] == found.shown.shape[1])
    assert (300, 100) == found.size


@pytest.mark.usefixtures("forgetful")
def test_neighbours_are_offered_with_their_price_and_shown_once_the_index_is_there(tiny_app, monkeypatch):
    """Before: what is not known, and how long finding out takes. After: the images, their labels, near or far."""
    from visrec.explain import neighbours

    send(tiny_app, "me.png", photo())
    assert "once for this run: about" in texts(tiny_app)
    assert tiny_app.button(key="explain_index")

    index = planted_index()
    monkeypatch.setattr(neighbours, "load_index", lambda run: index)
    monkeypatch.setattr(neighbours, "FeaturePredictor", lambda run, device_busy: Planted([1.2, 0.15]))
    tiny_app.run()
    assert not tiny_app.error
    assert "As usual for this model" in texts(tiny_app)
    assert "6 of 6 are labelled **smiling**" in texts(tiny_app)


@pytest.mark.usefixtures("forgetful")
def test_too_few_images_of_such_a_confidence_are_said_to_be(tiny_app, monkeypatch):
    """Two hundred images of another confidence do not say what this one is worth."""
    from visrec.explain.calibration import Calibration
    from visrec.ui import cached

    elsewhere = Calibration(float("nan"), 0, np.full(300, 0.01), np.ones(300, bool), "planted")
    monkeypatch.setattr(cached, "calibration", lambda run_id: elsewhere)
    send(tiny_app, "me.png", photo())

    assert "Too few held-out images" in texts(tiny_app)
    assert "were answered rightly" not in texts(tiny_app)


@pytest.mark.usefixtures("forgetful")
def test_a_blurred_image_is_said_to_be_before_any_index_is_made(tiny_app, tiny_run):
    """Blur needs only pixels: nothing has to be pressed for it."""
    from PIL import ImageFilter

    out = io.BytesIO()
    Image.open(io.BytesIO(photo((160, 160)))).filter(ImageFilter.GaussianBlur(12)).save(out, "PNG")
    send(tiny_app, "me.png", out.getvalue())

    warned = [w.value for w in tiny_app.warning]
    assert any("This image is blurred" in w for w in warned)
    assert tiny_app.button(key="explain_index")


@pytest.mark.usefixtures("forgetful")
def test_far_image_is_warned_of_before_the_prediction(tiny_app, monkeypatch):
    """An image unlike all training images: the warning stands above the answer, and confidence is called worthless."""
    from visrec.explain import neighbours

    index = planted_index()
    monkeypatch.setattr(neighbours, "load_index", lambda run: index)
    monkeypatch.setattr(neighbours, "FeaturePredictor", lambda run, device_busy: Planted([0.0, 1.0]))
    send(tiny_app, "me.png", photo())

    drawn = [(e.type, getattr(e, "value", "")) for e in tiny_app.main]
    far = next(
        i for i, (kind, value) in enumerate(drawn) if kind == "warning" and "far from what the model" in str(value)
    )
    answer = next(i for i, (kind, _) in enumerate(drawn) if kind == "metric")
    assert far < answer
    assert "Confidence means little here" in texts(tiny_app)


class Planted:
    """Features that are always the same, and one view that is the feature itself."""

    def __init__(self, feature):
        self.feature = np.array([feature])

    def look(self, images):
        return self.feature, [self.feature]


def planted_index():
    """An index whose training images all lie in one direction, with held-out images near them."""
    from visrec.explain.familiar import learn
    from visrec.explain.neighbours import build_index

    rng = np.random.default_rng(0)
    around = lambda n: np.array([1.0, 0.0]) + rng.normal(0, 0.2, (n, 2))
    files = [f"train/{i}.jpg" for i in range(40)]
    familiar = learn([around(40)], {"upside down": [-around(40)]}, [around(200)])
    return build_index(around(40), files, ["smiling"] * 40, np.zeros(40), familiar)


def test_a_small_image_is_said_to_be_small(tiny_app):
    """Twenty pixels enlarged to what the model takes are mostly made up, and said to be so before the answer."""
    send(tiny_app, "me.png", photo((20, 20)))

    warned = [w.value for w in tiny_app.warning]
    assert any("small: 20 x 20 pixels, and the model looks at 48 x 48" in w for w in warned)


def test_uploaded_image_is_nowhere_on_disk_afterwards(tiny_app, tiny_settings, tmp_path, monkeypatch):
    """Explained, judged, seconded, handed over; then every file that changed since is searched for the image.

    Looked at: the places of runs, buckets and cache, the folder for temporary files and the working directory; looked
    for: the sent bytes, the name, the digest, and the pixels as the model saw them, whole or in pieces.
    """
    import hashlib

    from visrec.explain.upload import read_upload

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    data, name = photo((160, 120)), "my-secret-face.png"
    root = Path(tiny_settings.runs).parent
    before = changed_files([root, tmp_path, Path.cwd()])

    send(tiny_app, name, data)
    tiny_app.segmented_control(key="explain_second").set_value("occlusion").run()
    for button in [b for b in tiny_app.button if b.key == "explain_judge"]:
        button.click().run()
    assert not tiny_app.error

    after = changed_files([root, tmp_path, Path.cwd()])
    touched = [path for path, stamp in after.items() if before.get(path) != stamp]
    pixels = read_upload(data, name, 48)
    wanted = [data[100:164], name.encode(), hashlib.sha256(data).hexdigest().encode(), pixels[24].tobytes()[:48]]
    for path in touched:
        held = path.read_bytes()
        assert not any(piece in held for piece in wanted), f"the upload is in {path}"
        assert name not in str(path)
    kinds = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".npy", ".npz")
    assert not [path for path in touched if path.suffix in kinds]
    assert not list(scratch.rglob("*.*"))


def changed_files(places: list[Path]) -> dict[Path, tuple[int, int]]:
    """Every file below these places with its time of change and size."""
    found = {}
    for place in places:
        for path in place.rglob("*"):
            if path.is_file():
                stat = path.stat()
                found[path] = (stat.st_mtime_ns, stat.st_size)
    return found
