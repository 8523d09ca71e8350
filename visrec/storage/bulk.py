"""The bulk reader: one GET by the client that is fastest at many small objects, behind the same store.

That is obstore (Rust's object_store): several times boto3's rate at a fraction of its processor time. It cannot spell
every key, gives up in outages and believes wrong bytes; so it only fetches, `visrec.storage.s3` verifies and tries
again, and keys it cannot spell go through boto3.
"""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from visrec.config import S3Settings
from visrec.storage.retry import Transient

if TYPE_CHECKING:
    from visrec.storage.s3 import S3Store


def bulk_getter(store: "S3Store") -> Callable[[str], tuple[bytes, str]] | None:
    """A function key -> (bytes, ETag), or None where obstore is missing or there are no credentials for it."""
    try:
        fast = _fast_store(store.bucket, store.settings)
    except ImportError:
        return None
    if fast is None:
        return None

    def get(key: str) -> tuple[bytes, str]:
        full = store.prefix + key
        if not spellable(full):
            return store.get(key)
        from obstore.exceptions import BaseError

        try:
            result = fast.get(full)
            return bytes(result.bytes()), (result.meta["e_tag"] or "").strip('"')
        except (BaseError, OSError) as error:
            # not judged here: the next try asks boto3, which says what is wrong
            raise Transient(error) from error

    return get


def spellable(key: str) -> bool:
    """Whether object_store can name this key: no empty, ``.`` or ``..`` part, no control characters.

    >>> [spellable(key) for key in ("a/b c.jpg", "a//b", "../x", "/x", "x/")]
    [True, False, False, False, False]
    """
    return all(part not in ("", ".", "..") for part in key.split("/")) and key.isprintable() and "\\" not in key


@functools.lru_cache(maxsize=16)
def _fast_store(bucket: str, s3: S3Settings):
    from obstore.store import S3Store as FastStore

    from visrec.storage.s3 import addressing_style, client

    boto = client(s3)
    credentials = boto._request_signer._credentials
    if credentials is None or credentials.get_frozen_credentials().token:
        return None  # none, or ones that are renewed while we read: boto3 knows how
    frozen = credentials.get_frozen_credentials()
    if s3.ca_bundle:
        os.environ.setdefault("SSL_CERT_FILE", s3.ca_bundle)  # the only way it learns of a private authority
    return FastStore(
        bucket,
        access_key_id=frozen.access_key,
        secret_access_key=frozen.secret_key,
        region=boto.meta.region_name,
        **({"endpoint": s3.endpoint_url} if s3.endpoint_url else {}),
        virtual_hosted_style_request=addressing_style(s3) != "path",
        client_options={"allow_http": True, "timeout": "20s", "connect_timeout": "5s"},
        retry_config={"max_retries": 1},
    )
