"""A connection is a named way to an S3 store: endpoint, key and bucket under a short name, so there can be several.

They come from the environment (``VISREC_COS_<NAME>_ENDPOINT_URL`` and so on) or, in the dashboard, from the
``[cos.NAME]`` tables of Streamlit's secrets. A bucket reached by one is written ``s3://NAME@bucket/prefix``: the name
says which store, and is no secret.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from visrec.errors import InputError

PREFIX = "VISREC_COS_"
NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class S3Settings:
    """How to reach S3-compatible storage; empty strings are never kept, they mean "not given".

    ``name`` is the connection's name; "" for the one that the plain variables (BUCKET, ENDPOINT_URL, ...) describe.
    """

    bucket: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    region: str | None = None
    ca_bundle: str | None = None
    addressing_style: str | None = None
    name: str = ""

    @property
    def configured(self) -> bool:
        """Whether anything at all points to an S3 store."""
        return any([self.bucket, self.access_key_id, self.endpoint_url])

    def variables(self) -> dict[str, str]:
        """The environment that `from_environment` reads this connection from."""
        given = {key: getattr(self, key) for key in FIELDS}
        return {f"{PREFIX}{self.name.upper()}_{key.upper()}": value for key, value in given.items() if value}


FIELDS = tuple(f.name for f in fields(S3Settings) if f.name != "name")


def from_environment(values: Mapping[str, str]) -> tuple[S3Settings, ...]:
    """The connections that variables like ``VISREC_COS_EU_ENDPOINT_URL`` describe, by name.

    >>> [c.name for c in from_environment({"VISREC_COS_EU_BUCKET": "photos", "VISREC_COS_US_EAST_BUCKET": "faces"})]
    ['eu', 'us_east']
    """
    tables: dict[str, dict[str, str]] = {}
    for variable, value in values.items():
        if not variable.startswith(PREFIX) or not value:
            continue
        rest = variable.removeprefix(PREFIX).lower()
        key = next((key for key in FIELDS if rest.endswith(f"_{key}")), None)
        if key is None:
            raise InputError(f"{variable} is not known; expected {PREFIX}<NAME>_ and one of {_known().upper()}.")
        tables.setdefault(rest.removesuffix(f"_{key}"), {})[key] = value
    return from_tables(tables)


def from_tables(tables: Mapping[str, Mapping[str, str]]) -> tuple[S3Settings, ...]:
    """Connections from tables by name, as ``[cos.NAME]`` in Streamlit's secrets; a value is never part of a message."""
    found = []
    for given, table in sorted(tables.items()):
        name = given.lower().replace("-", "_")
        if not NAME.fullmatch(name):
            raise InputError(f"'{given}' cannot name a connection; expected letters, digits and _, a letter first.")
        if not isinstance(table, Mapping):
            raise InputError(f"[cos.{given}] is not a table; expected keys such as endpoint_url below it.")
        values = {key.lower(): str(value) for key, value in table.items() if value}
        if unknown := sorted(set(values) - set(FIELDS)):
            raise InputError(f"[cos.{given}] holds {', '.join(unknown)}; expected some of {_known()}.")
        values["endpoint_url"] = checked_endpoint(values.get("endpoint_url"), f"endpoint_url of connection '{name}'")
        style = checked_style(values.get("addressing_style"), f"addressing_style of connection '{name}'")
        found.append(S3Settings(**{**values, "addressing_style": style}, name=name))
    return tuple(found)


def named_in(urls: Iterable[str | None]) -> set[str]:
    """Names of the connections that these bucket URLs go by.

    >>> sorted(named_in(["s3://eu@photos/in", "s3://plain", "faces", None]))
    ['eu']
    """
    places = [url.split("://", 1)[1].partition("/")[0] for url in urls if url and "://" in url]
    return {place.partition("@")[0] for place in places if "@" in place}


def checked_endpoint(url: str | None, what: str = "ENDPOINT_URL") -> str | None:
    """The URL, if it has a scheme and no password; that is not repeated."""
    if url is None or url.startswith(("http://", "https://")):
        if "@" in (url or "").partition("://")[2].partition("/")[0]:
            raise InputError(
                f"{what} holds a user or password, which this would show in messages; expected https://host alone. "
                "Keys have settings of their own: ACCESS_KEY_ID and SECRET_ACCESS_KEY."
            )
        return url
    raise InputError(f"{what} is '{url.rpartition('@')[2]}'; expected a URL that starts with https:// or http://.")


def checked_style(style: str | None, what: str = "S3_ADDRESSING_STYLE") -> str | None:
    """The addressing style, if it is one."""
    if style in (None, "path", "virtual", "auto"):
        return style
    raise InputError(f"{what} is '{style}'; expected path, virtual or auto.")


def _known() -> str:
    return ", ".join(FIELDS)
