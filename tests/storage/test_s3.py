"""Tests for visrec.storage.s3: damaged bodies are read again, refusals are sentences, secrets stay secret."""

import dataclasses
import hashlib
import time

import pytest

from visrec.config import S3Settings
from visrec.errors import AccessError, InputError, NotFoundError, OutsideError
from visrec.storage import retry
from visrec.storage.s3 import S3Store, bucket_names

BODY = bytes(range(256)) * 40
ETAG = hashlib.md5(BODY).hexdigest()
DATE = "Wed, 01 Jan 2025 00:00:00 GMT"
LISTING = f"""<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key>
<LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>"{ETAG}"</ETag><Size>{len(BODY)}</Size></Contents>
</ListBucketResult>""".encode()


def settings(url, **more) -> S3Settings:
    return S3Settings(access_key_id="AKID", secret_access_key="hush-hush", endpoint_url=url, **more)


def error(code, message="said the store"):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """The waits between tries are tested in test_retry."""
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


def serve_objects(scripted_server, spoil, etag=ETAG):
    """A store with one object; ``spoil(n, body)`` makes the n-th answer (status, headers, body)."""
    count = {"get": 0}

    def answer(method, path):
        head = {"ETag": f'"{etag}"', "Last-Modified": DATE, "Content-Type": "image/jpeg"}
        if "list-type=2" in path:
            return 200, {"Content-Type": "application/xml"}, LISTING.replace(ETAG.encode(), etag.encode())
        if method == "HEAD":
            return 200, {**head, "Content-Length": str(len(BODY))}, b""
        count["get"] += 1
        status, more, body = spoil(count["get"] - 1, BODY)
        return status, {**head, **more}, body

    return settings(scripted_server(answer)), count


def flipped(body, where=0):
    return body[:where] + bytes([body[where] ^ 1]) + body[where + 1 :]


def test_object_whose_own_checksum_is_right_costs_one_request(scripted_server):
    """A thumbnail of a bucket that was never listed is one GET; where there is no checksum, the size is asked for."""
    asked = []

    def answer(method, path):
        asked.append(method)
        tag = ETAG if "/k" in path else "of-parts-2"
        head = {"ETag": f'"{tag}"', "Last-Modified": DATE, "Content-Length": str(len(BODY))}
        return 200, head, b"" if method == "HEAD" else BODY

    store = S3Store("b", "", settings(scripted_server(answer)))
    assert store.read("k") == BODY
    assert asked == ["GET"]
    assert store.read("other") == BODY
    assert asked == ["GET", "GET", "HEAD"]


SPOILS = {
    "cut": lambda n, body: (200, {"Content-Length": str(len(body))}, body[:1000]),
    "shortened with a matching length": lambda n, body: (200, {}, body[:1000]),
    "flipped bit": lambda n, body: (200, {}, flipped(body, n)),
    "503": lambda n, body: (503, {}, error("SlowDown")),
    "500": lambda n, body: (500, {}, b""),
}


@pytest.mark.parametrize("many", [False, True], ids=["read", "read_many"])
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_damaged_answers_are_read_again(scripted_server, spoil, many):
    """The first answers are spoilt in one way; the right bytes arrive all the same."""
    s3, count = serve_objects(scripted_server, lambda n, body: spoil(n, body) if n < 2 else (200, {}, body))
    store = S3Store("bucket", "", s3)
    listed = [info.key for info in store.list()]

    data = dict(store.read_many(listed))["k"] if many else store.read("k")

    assert data == BODY
    assert count["get"] >= 3


def test_flipped_bit_without_listing_is_found(scripted_server):
    """The ETag that comes with the body is enough to see it."""
    s3, _ = serve_objects(scripted_server, lambda n, body: (200, {}, flipped(body) if n == 0 else body))

    assert S3Store("bucket", "", s3).read("k") == BODY


def test_random_etag_is_believed_after_two_equal_reads(scripted_server):
    """Under encryption with one's own keys the ETag is no MD5 of the content: two equal reads in a row must do."""
    s3, count = serve_objects(scripted_server, lambda n, body: (200, {}, body), etag="0" * 32)

    assert S3Store("bucket", "", s3).read("k") == BODY
    assert count["get"] == 2


def test_multipart_etag_is_not_taken_for_a_hash(scripted_server):
    """An ETag of several parts says nothing of the content; the length is checked."""
    s3, count = serve_objects(scripted_server, lambda n, body: (200, {}, body), etag=ETAG + "-7")

    assert S3Store("bucket", "", s3).read("k") == BODY
    assert count["get"] == 1


def test_object_that_stays_damaged_is_told(scripted_server):
    """After all tries the sentence says what arrived and what was expected."""
    s3, _ = serve_objects(scripted_server, lambda n, body: (200, {}, body[: 1000 + n]))
    store = S3Store("bucket", "", s3)
    list(store.list())

    with pytest.raises(OutsideError, match="bytes instead of 10,240"):
        store.read("k")


REFUSALS = {
    "InvalidAccessKeyId": (403, AccessError, "does not know the access key"),
    "SignatureDoesNotMatch": (403, AccessError, "secret is wrong"),
    "AccessDenied": (403, AccessError, "no permission"),
    "RequestTimeTooSkewed": (403, AccessError, "clock"),
    "ExpiredToken": (400, AccessError, "expired"),
    "NoSuchBucket": (404, NotFoundError, "no bucket 'photos'"),
    "AuthorizationHeaderMalformed": (400, OutsideError, "ENDPOINT_URL and REGION"),
    "NotImplemented": (501, OutsideError, "Check ENDPOINT_URL"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_refusal_is_one_sentence_with_a_remedy(scripted_server, code):
    """Each refusal says what to mend, and never shows the secret."""
    status, kind, words = REFUSALS[code]
    url = scripted_server(lambda method, path: (status, {"Content-Type": "application/xml"}, error(code)))

    with pytest.raises(kind, match=words) as caught:
        list(S3Store("photos", "", settings(url)).list())
    assert "hush" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_web_page_in_place_of_a_store_is_said(scripted_server):
    """A console's address instead of the endpoint's: HTML comes back."""
    url = scripted_server(lambda *_: (200, {"Content-Type": "text/html"}, b"<html><body>Welcome</body>"))

    with pytest.raises(OutsideError, match="not an S3 store"):
        list(S3Store("photos", "", settings(url)).list())


def test_unreachable_endpoint_is_told_in_seconds():
    """Nobody listens there: a few tries, then a sentence."""
    started = time.monotonic()

    with pytest.raises(OutsideError, match="could not be reached"):
        list(S3Store("photos", "", settings("http://127.0.0.1:9")).list())
    assert time.monotonic() - started < 10


def test_a_password_in_the_endpoint_is_never_shown():
    """Neither by us nor in the words of botocore, which quotes the whole address."""
    with pytest.raises(OutsideError, match=r"http://127\.0\.0\.1:9 could not be reached") as caught:
        list(S3Store("photos", "", settings("http://me:hunter2@127.0.0.1:9")).list())

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["https://", "https://host name", "https://me:hunter2@host name"])
def test_an_endpoint_that_is_no_address_is_a_sentence(endpoint):
    """It begins as one should, so only the client finds out."""
    with pytest.raises(InputError, match="cannot be an address; expected ENDPOINT_URL like") as caught:
        list(S3Store("photos", "", settings(endpoint)).list())

    assert "hunter2" not in str(caught.value)


def test_missing_credentials_are_told(monkeypatch):
    """Without any key the sentence names the variables."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(AccessError, match="ACCESS_KEY_ID and SECRET_ACCESS_KEY"):
        list(S3Store("photos", "", S3Settings(endpoint_url="http://127.0.0.1:9", region="nowhere-1")).list())


def test_credentials_that_may_not_list_buckets_offer_the_one_named(scripted_server):
    """BUCKET alone is enough when the key has no permission to list buckets; without it the refusal is told."""
    url = scripted_server(lambda *_: (403, {"Content-Type": "application/xml"}, error("AccessDenied")))

    assert bucket_names(settings(url, bucket="mine")) == ["mine"]
    with pytest.raises(AccessError, match="no permission"):
        bucket_names(settings(url))


def test_wrong_key_is_told_even_when_a_bucket_is_named(scripted_server):
    """A wrong key must not look like a bucket on offer."""
    url = scripted_server(lambda *_: (403, {"Content-Type": "application/xml"}, error("InvalidAccessKeyId")))

    with pytest.raises(AccessError, match="does not know"):
        bucket_names(settings(url, bucket="mine"))


@pytest.mark.parametrize(("style", "host"), [("path", "127.0.0.1"), ("virtual", "photos.localhost")])
def test_addressing_style_decides_the_host(style, host):
    """Path style asks the endpoint's own host; virtual style puts the bucket before it."""
    endpoint = "http://127.0.0.1:9" if style == "path" else "http://localhost:9"
    store = S3Store("photos", "", settings(endpoint, addressing_style=style))
    url = store.client.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k"})

    assert f"http://{host}:9/{'photos/' if style == 'path' else ''}k?" in url


def test_settings_never_show_the_secret(s3_settings):
    """They are logged and printed in tracebacks."""
    assert "secret" not in repr(dataclasses.replace(s3_settings)).replace("secret_access_key", "")
