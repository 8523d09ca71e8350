"""Where buckets come from: the folders and the ways to object storage that the settings name, and whether they answer.

Keys are never shown, not even in part; only whether they were given.
"""

import time
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st

from visrec.config import S3Settings, Settings
from visrec.errors import VisrecError
from visrec.ui import cached, widgets, wording

Place = Path | S3Settings


def draw(key: str) -> None:
    """The panel: choose a place, ask whether it answers, pick one of its buckets (for the widget of that key)."""
    settings = cached.settings()
    with st.expander("Where buckets come from", icon=":material/cable:"):
        places = [*settings.buckets, *settings.stores]
        chosen = st.radio(
            "Place", range(len(places)), format_func=lambda n: title(places[n]), key="bucket_place",
            captions=[describe(place) for place in places],
        )  # fmt: skip
        place = places[chosen or 0]
        if isinstance(place, S3Settings):
            _test(place)
        _pick(place, key)
        st.caption(
            "Object storage is named by BUCKET, ACCESS_KEY_ID, SECRET_ACCESS_KEY and ENDPOINT_URL, in the environment "
            "or in a .env file beside the dashboard; further ones by a [cos.NAME] table of the dashboard's secrets, or "
            "by VISREC_COS_<NAME>_ENDPOINT_URL and so on."
        )


def title(place: Place) -> str:
    """A place in two or three words; no secret is in it."""
    if isinstance(place, Path):
        return f"Folder {place.name or place}"
    return f"Object storage {place.name}".strip()


def describe(place: Place) -> str:
    """Where a place is and by which key it is reached, as Markdown; no secret is in it."""
    if isinstance(place, Path):
        return widgets.escape(str(place.absolute())) + ("" if place.is_dir() else " (there is no such folder yet)")
    at = f"at {endpoint(place.endpoint_url)}" if place.endpoint_url else "of AWS"
    bucket = f", bucket {widgets.escape(place.bucket)}" if place.bucket else ""
    whole = place.access_key_id and place.secret_access_key
    keys = "a key of its own" if whole else "the key that the surroundings provide (AWS default chain)"
    return f"{widgets.escape(at)}{bucket}, with {keys}"


def endpoint(url: str) -> str:
    """The address of a store without a password that somebody wrote into it.

    >>> endpoint("https://me:secret@s3.example.org:9000/")
    'https://s3.example.org:9000'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def try_connection(s3: S3Settings) -> tuple[bool, str]:
    """Ask the store for its buckets, or for the one named; whether that went well, and a sentence."""
    from visrec.storage.s3 import S3Store, bucket_names

    started = time.monotonic()
    try:
        names = bucket_names(s3)
        if s3.bucket:
            S3Store(s3.bucket, "", s3).check()
    except VisrecError as error:
        return False, str(error)
    offered = f"it offers {wording.count(len(names), 'bucket')}"
    known = f"the bucket '{s3.bucket}' can be listed" if s3.bucket else offered
    return True, f"The object storage answered in {1000 * (time.monotonic() - started):.0f} ms; {known}."


def buckets_of(place: Place, settings: Settings) -> list:
    """The buckets on offer that lie in this place."""
    found = cached.buckets()
    if isinstance(place, Path):
        return [b for b in found if b.kind != "s3" and Path(b.url).parent == place.absolute()]
    named = {other.name for other in settings.connections}
    mine = f"s3://{place.name}@" if place.name else "s3://"
    others = tuple(f"s3://{name}@" for name in named if name != place.name)
    return [b for b in found if b.kind == "s3" and b.url.startswith(mine) and not (others and b.url.startswith(others))]


def _test(s3: S3Settings) -> None:
    if st.button("Test the connection", icon=":material/network_check:", key="bucket_connection"):
        with st.spinner("Asking the object storage"):
            good, said = try_connection(s3)
        (st.success if good else st.error)(widgets.escape(said))
        cached.forget_buckets()


def _pick(place: Place, key: str) -> None:
    offered = {
        bucket.name: bucket.url.removesuffix("/").rpartition("/")[2] for bucket in buckets_of(place, cached.settings())
    }
    if not offered:
        st.caption("No bucket is to be seen here.")
        return
    name = st.selectbox(
        "Its buckets", list(offered), index=None, format_func=lambda n: offered[n].rpartition("@")[2],
        placeholder=f"Choose one of {len(offered)}", key=f"bucket_pick_{title(place)}",
    )  # fmt: skip
    if name and st.button("Look into this bucket", icon=":material/folder_open:", key="bucket_open"):
        st.session_state[key] = name
