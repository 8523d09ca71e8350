"""Tests for visrec.connections and what the settings make of them."""

import pytest

from visrec.config import Settings
from visrec.connections import S3Settings
from visrec.errors import InputError, NotFoundError

EU = {
    "VISREC_COS_EU_ENDPOINT_URL": "https://eu.example", "VISREC_COS_EU_ACCESS_KEY_ID": "the-id",
    "VISREC_COS_EU_SECRET_ACCESS_KEY": "the-secret",
}  # fmt: skip


def test_a_connection_survives_the_environment():
    """A run learns its connection from variables; what is written must be read back the same."""
    given = S3Settings("photos", "id", "secret", "https://eu.example", "eu-de", "/ca.pem", "path", name="eu_2")

    assert (given,) == Settings.load(given.variables(), None).connections


def test_secrets_of_connections_never_show():
    """Not in the representation, not in the message about a key that is not known."""
    settings = Settings.load(EU, None)

    assert "the-secret" not in repr(settings)
    assert "the-id" not in repr(settings)
    with pytest.raises(InputError, match=r"\[cos.us\] holds password; expected some of bucket") as error:
        settings.with_connections({"us": {"password": "very-secret"}})
    assert "very-secret" not in str(error.value)


def test_streamlits_secrets_win_over_the_environment():
    """Both may name a connection; the dashboard's own file is the nearer one."""
    settings = Settings.load({**EU, "VISREC_COS_US_BUCKET": "b"}, None).with_connections({"eu": {"bucket": "mine"}})

    assert ["eu", "us"] == [s3.name for s3 in settings.connections]
    assert "mine" == settings.store_named("eu").bucket
    assert settings.store_named("eu").endpoint_url is None


def test_an_unknown_connection_gets_the_nearest():
    """A sentence with what there is, and where connections are written."""
    with pytest.raises(NotFoundError, match=r"no connection 'ue'.+eu.+VISREC_COS_"):
        Settings.load(EU, None).store_named("ue")


@pytest.mark.parametrize(
    "tables", [{"1x": {"bucket": "b"}}, {"eu": "b"}, {"eu": {"endpoint_url": "eu.example"}}, {"a@b": {"bucket": "b"}}]
)
def test_tables_that_cannot_be_used_are_refused(tables):
    """Each with a sentence, before anything is asked over the network."""
    with pytest.raises(InputError, match="expected"):
        Settings().with_connections(tables)
