"""Tests for visrec.config."""

from pathlib import Path

import pytest

from visrec.config import Settings
from visrec.errors import InputError


def test_the_environment_wins_over_the_dotenv_file(tmp_path):
    """A deployment's variables must not be undone by a file that happens to lie there."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("BUCKET=from-file\nENDPOINT_URL=https://file.example\n")

    settings = Settings.load({"BUCKET": "from-environment"}, dotenv)

    assert "from-environment" == settings.s3.bucket
    assert "https://file.example" == settings.s3.endpoint_url


def test_several_bucket_folders_are_separated_by_colons():
    """As PATH does it."""
    settings = Settings.load({"VISREC_BUCKETS": "a:b/c"}, None)

    assert (Path("a"), Path("b/c")) == settings.buckets


def test_an_empty_variable_means_not_given():
    """An optional secretKeyRef that is absent may arrive as an empty string."""
    settings = Settings.load({"BUCKET": "", "ACCESS_KEY_ID": ""}, None)

    assert not settings.s3.configured


def test_secrets_never_show_in_the_representation():
    """A settings object ends up in logs and tracebacks sooner or later."""
    settings = Settings.load({"ACCESS_KEY_ID": "the-id", "SECRET_ACCESS_KEY": "the-secret"}, None)

    assert "the-secret" not in repr(settings)
    assert "the-id" not in repr(settings)


def test_an_endpoint_without_a_scheme_is_refused_with_advice():
    """Forgetting https:// is the commonest slip."""
    with pytest.raises(InputError, match="starts with https://"):
        Settings.load({"ENDPOINT_URL": "s3.example.org"}, None)


def test_one_device_has_one_queue_whatever_the_cache_is():
    """Two dashboards with caches of their own must not train at once on the same two cores; a GPU is another device."""
    one, other = (Settings.load({"VISREC_CACHE": name}, None).queue for name in ("a", "b"))

    assert one == other
    assert Path("q") == Settings.load({"VISREC_QUEUE": "q"}, None).queue


def test_more_trainings_at_once_must_be_asked_for_with_a_number():
    """One is the rule; a machine with many cores may have more."""
    assert 1 == Settings.load({}, None).slots
    assert 3 == Settings.load({"VISREC_SLOTS": "3"}, None).slots
    with pytest.raises(InputError, match="VISREC_SLOTS is 'many'"):
        Settings.load({"VISREC_SLOTS": "many"}, None)
