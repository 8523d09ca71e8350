"""Where buckets come from: the folders and the object storage that the settings name, and whether they answer.

Keys are never shown, not even in part; only whether they were given.
"""

import time
from urllib.parse import urlsplit

import streamlit as st

from visrec.config import S3Settings, Settings
from visrec.errors import VisrecError
from visrec.ui import cached, widgets, wording


def draw() -> None:
    """The panel: each place in a line, and a button that asks the object storage."""
    settings = cached.settings()
    with st.expander("Where buckets come from", icon=":material/cable:"):
        for line in places(settings):
            st.markdown(f"- {line}")
        if not settings.s3.configured:
            st.caption(
                "Object storage is named by BUCKET, ACCESS_KEY_ID, SECRET_ACCESS_KEY and ENDPOINT_URL, in the "
                "environment or in a .env file beside the dashboard."
            )
            return
        if st.button("Test the connection", icon=":material/network_check:", key="bucket_connection"):
            with st.spinner("Asking the object storage"):
                good, said = try_connection(settings.s3)
            (st.success if good else st.error)(widgets.escape(said))
            cached.forget_buckets()


def places(settings: Settings) -> list[str]:
    """One line of Markdown per place; no secret is in it."""
    lines = []
    for folder in settings.buckets:
        state = "" if folder.is_dir() else " (there is no such folder yet)"
        lines.append(f"Folder {widgets.escape(str(folder.absolute()))}{state}")
    s3 = settings.s3
    if s3.configured:
        at = f"at {endpoint(s3.endpoint_url)}" if s3.endpoint_url else "of AWS"
        bucket = f", bucket {widgets.escape(s3.bucket)}" if s3.bucket else ""
        whole = s3.access_key_id and s3.secret_access_key
        keys = "a key of its own" if whole else "the key that the surroundings provide (AWS default chain)"
        lines.append(f"Object storage {widgets.escape(at)}{bucket}, with {keys}")
    return lines


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
