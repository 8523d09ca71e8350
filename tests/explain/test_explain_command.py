"""`visrec explain` with a model in the place of a trained one: what it prints, and what it says to wrong input."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from planted_models import drawn_image, left_half

import visrec.cli.explain as command
from visrec.cli import run
from visrec.errors import InputError


class Planted:
    """A predictor of the contract: labels, image size, engine, a call."""

    labels = ["dark", "bright"]
    image_size = 48
    engine = "planted"
    fit = "stretch"

    def __call__(self, images):
        return left_half(images)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A photo on disk and a planted model behind the name ``planted``."""
    monkeypatch.setattr(command, "open_model", lambda name, settings: Planted())
    path = tmp_path / "photo.png"
    Image.fromarray(drawn_image(60, 3)).save(path)
    return path


def called(capsys, *args) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = run(["explain", "planted", *map(str, args)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_json_is_one_document_with_the_designs_keys(photo, capsys):
    """Everything needed to recompute or draw the explanation, and nothing on standard error."""
    code, out, err = called(capsys, photo, "--samples", 300, "--fill", "grey", "--json")

    found = json.loads(out)
    assert (0, "") == (code, err)
    assert {"prediction", "scores", "segments", "weights", "badge", "seconds", "badge_seconds"} <= set(found)
    assert (48, 48) == np.shape(found["segments"])
    assert len(found["weights"]) == np.max(found["segments"]) + 1
    assert found["prediction"] == max(found["scores"], key=found["scores"].get)
    assert {"verdict", "r2", "stability", "deletion", "insertion", "agreement"} <= set(found["badge"])
    assert found["seconds"] > 0 < found["badge_seconds"]


def test_weights_and_segments_give_stock_limes_answer(photo, capsys):
    """What is printed is enough for anybody to check it with stock LIME."""
    import contextlib

    from lime.lime_image import LimeImageExplainer

    _, out, _ = called(capsys, photo, "--samples", 200, "--seed", 3, "--class", "bright", "--no-badge", "--json")
    found = json.loads(out)
    segments = np.array(found["segments"])
    image = np.asarray(Image.open(photo).resize((48, 48), Image.Resampling.BILINEAR))

    with contextlib.redirect_stderr(io.StringIO()):
        stock = LimeImageExplainer(random_state=3).explain_instance(
            image.astype(np.float64),
            left_half,
            labels=(1,),
            top_labels=None,
            num_samples=200,
            segmentation_fn=lambda _: segments,
        )
    expected = [weight for _, weight in sorted(stock.local_exp[1])]

    np.testing.assert_allclose(found["weights"], expected, atol=1e-5)
    assert found["badge"] is None


def test_overlay_is_written_and_the_same_every_time(photo, capsys, tmp_path):
    """Same image, same seed, same bytes; no half file is left."""
    for name in ("a.png", "b.png"):
        assert 0 == called(capsys, photo, "--samples", 200, "--no-badge", "-o", tmp_path / name)[0]

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (48, 48) == Image.open(tmp_path / "a.png").size
    assert ["a.png", "b.png", "photo.png"] == sorted(p.name for p in tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_write_the_same_overlay(tmp_path, tiny_run):
    """A really trained model, its engine, one machine, two processes: the files are equal byte for byte."""
    image = tmp_path / "photo.png"
    Image.fromarray(drawn_image(60, 3)).save(image)
    model = tiny_run.local("model.keras")
    overlays = [tmp_path / "a.png", tmp_path / "b.png"]

    for overlay in overlays:
        command = ["explain", model, image, "--samples", "200", "--no-badge", "-o", overlay]
        subprocess.run([sys.executable, "-m", "visrec", *map(str, command)], check=True, capture_output=True)

    assert overlays[0].read_bytes() == overlays[1].read_bytes()


def test_people_get_a_few_lines(photo, capsys):
    """Prediction, verdict, heaviest superpixels, what next."""
    _, out, _ = called(capsys, photo, "--samples", 200)

    assert 4 == len(out.splitlines())
    assert "Explanation of " in out
    assert "add -o overlay.png" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--class", "brigt"], "knows no class 'brigt'. Did you mean 'bright'"),
        (["--segmenter", "slick"], "no segmenter 'slick'"),
        (["--samples", "1"], "asked for 1 samples, expected at least 2"),
        (["--samples", "many"], "--samples: 'many' was given, expected a whole number from 0 to 1000000"),
        (["--seed", "-1"], "--seed: '-1' was given, expected a whole number from 0 to 2147483647"),
        (["--seed", "4294967294"], "--seed: '4294967294' was given"),
        (["--top", "-3"], "--top: '-3' was given"),
        (["--opacity", "3"], "--opacity: '3' was given, expected a number from 0 to 1"),
        (["--opacity", "nan"], "--opacity: 'nan' was given"),
        (["-o", "."], "'.' is a folder, expected the name of the PNG to write"),
        (["-o", "/"], "'/' is a folder"),
        (["-o", "a" * 300 + ".png"], "cannot be written to"),
    ],
)
def test_wrong_options_get_a_sentence_and_exit_code_2(photo, capsys, args, words):
    """What came, what was expected; no traceback."""
    code, out, err = called(capsys, photo, *args)

    assert (2, "") == (code, out)
    assert words in err
    assert "Traceback" not in err


def test_a_missing_image_is_named_with_the_nearest(photo, capsys):
    """A mistyped name is mended in one look."""
    code, _, err = called(capsys, photo.with_name("foto.png"))

    assert 2 == code
    assert "Did you mean 'photo.png'" in err


def test_an_image_path_that_cannot_be_is_exit_code_2(photo, capsys):
    """A file taken for a folder, a name no disk can hold: wrong input, not a fault of ours."""
    code, _, err = called(capsys, photo / "x.jpg")
    assert (2, True) == (code, "There is no image file" in err)

    code, _, err = called(capsys, photo.with_name("x" * 400 + ".jpg"))
    assert (2, True) == (code, "File name too long" in err)


def test_what_cannot_be_written_is_refused_before_anything_is_computed(photo, capsys, tmp_path, monkeypatch):
    """Naming a folder as the overlay: told at once, and nothing is left in it or beside it."""
    monkeypatch.setattr(Planted, "__call__", lambda self, images: pytest.fail("computed"))
    (tmp_path / "folder").mkdir()

    code, _, err = called(capsys, photo, "-o", tmp_path / "folder")

    assert (2, True) == (code, "is a folder" in err)
    assert ["folder", "photo.png"] == sorted(p.name for p in tmp_path.rglob("*"))


def test_no_half_file_is_left_when_the_overlay_cannot_be_put_in_its_place(photo, capsys, tmp_path, monkeypatch):
    """The folder came to be while the explanation was computed."""
    monkeypatch.setattr(command, "check_goal", lambda name: None)
    (tmp_path / "late").mkdir()

    assert 3 == called(capsys, photo, "--samples", 50, "--no-badge", "-o", tmp_path / "late")[0]
    assert ["late", "photo.png"] == sorted(p.name for p in tmp_path.rglob("*"))


def test_an_overlay_that_cannot_be_written_is_exit_code_3(photo, capsys, tmp_path):
    """The world outside failed, the message says where."""
    code, _, err = called(capsys, photo, "--samples", 50, "--no-badge", "-o", tmp_path / "no" / "a.png")

    assert 3 == code
    assert "cannot be written" in err


def test_an_unknown_run_is_exit_code_2(tmp_path, monkeypatch, capsys):
    """Bucket, run or file not found: wrong input."""
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path))
    code, _, err = called(capsys, tmp_path / "photo.png")

    assert 2 == code
    assert "planted" in err


def test_samples_are_chosen_from_the_superpixels_and_fewer_suffice_in_haste(photo, capsys):
    """By default at least ten each and a thousand; with --fast as soon as the heaviest have settled."""
    whole = json.loads(called(capsys, photo, "--no-badge", "--json")[1])
    fast = json.loads(called(capsys, photo, "--no-badge", "--fast", "--samples", 20_000, "--json")[1])

    assert max(1000, 10 * whole["n_segments"]) == whole["samples"]
    assert 10 * fast["n_segments"] <= fast["samples"] < 20_000


def test_a_failed_sanity_check_is_the_verdict(photo, capsys, monkeypatch):
    """The command prints one verdict, not "solid" above "do not use it"."""
    monkeypatch.setattr(command, "network_file", lambda name, settings: photo)
    monkeypatch.setattr("visrec.explain.sanity.twin_predictor", lambda file, device_busy: left_half)

    _, out, _ = called(capsys, photo, "--samples", 300, "--fill", "grey", "--sanity")

    assert "Explanation of " in out
    assert ": do not use (it shows the image" in out


def test_a_model_whose_weights_cannot_be_thrown_away_is_refused_first(photo, capsys, monkeypatch):
    """Not after everything was computed."""

    def refuse(name, settings):
        raise InputError("cannot be thrown away")

    monkeypatch.setattr(command, "network_file", refuse)
    monkeypatch.setattr(Planted, "__call__", lambda self, images: pytest.fail("computed"))

    assert 2 == called(capsys, photo, "--sanity")[0]


def test_a_training_keeps_the_device(monkeypatch, tmp_path):
    """The command asks for the CPU while one is going on."""
    from visrec.config import Settings

    asked = []
    monkeypatch.setattr("visrec.runs.jobs.is_training", lambda settings: True)
    monkeypatch.setattr("visrec.model.predict.load_predictor", lambda source, device_busy: asked.append(device_busy))

    command.open_model(str(tmp_path / "model.keras"), Settings())

    assert [True] == asked
