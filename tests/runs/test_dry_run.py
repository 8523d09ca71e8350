"""``visrec train --dry-run``: says what would be done, and does nothing."""

import json

import pytest

from visrec import cli

TRAIN = ["train", "tiny", "--image-size", "48", "--fine-tune-epochs", "2", "--dry-run"]


@pytest.fixture
def places(settings, monkeypatch):
    """The command line looks at this test's folders."""
    monkeypatch.setenv("VISREC_BUCKETS", str(settings.buckets[0]))
    monkeypatch.setenv("VISREC_RUNS", settings.runs)
    monkeypatch.setenv("VISREC_CACHE", str(settings.cache))
    return settings


def test_people_are_told_settings_images_and_minutes_in_plain_words(places, capsys, tmp_path):
    """No spelling of Python's, and no run is begun."""
    assert cli.run([*TRAIN, "--by", "race,age", "--no-mirror"]) == 0
    settings, images, warning, *_, minutes = capsys.readouterr().out.splitlines()

    assert "bucket tiny; target expression; by race, age; image size 48; " in settings
    assert settings.endswith("mirror no")
    assert not set("_()'") & set(settings + minutes)
    assert images.startswith("Images: 54 train, ")
    assert warning.startswith("Warning: Only 54 images to train on")
    assert minutes.startswith("About ")
    assert not (tmp_path / "runs").exists()


def test_json_has_the_stages_and_their_sum(places, capsys):
    """With the seconds until the libraries are loaded."""
    from visrec.model.estimate import STARTING

    assert cli.run([*TRAIN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["total_seconds"] == pytest.approx(STARTING + sum(found["seconds"].values()), abs=0.1)
    assert (48, 2) == (found["settings"]["image_size"], found["settings"]["fine_tune_epochs"])
    assert found["basis"] == "a probe"


def test_what_cannot_be_trained_is_said_as_a_training_would(places, capsys):
    """Exit code 2, and the columns there are."""
    assert cli.run([*TRAIN, "--target", "expresion"]) == 2

    assert "expression" in capsys.readouterr().err
