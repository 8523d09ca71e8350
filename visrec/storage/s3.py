"""An S3 bucket (IBM COS, AWS, Ceph, MinIO) as a Store, with or without a prefix.

boto3 lists, writes and reads single objects; many objects are read by `visrec.storage.bulk`. Around every read stands
one loop of get, read, verify and retry: a body that is cut, stalls or arrives with other bytes than the store listed is
read again.

Reference for the settings: measurements against a Ceph RADOS Gateway with planted faults; botocore retries nothing
after the headers, and its default retry quota loses objects in short outages.
"""

import functools
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from visrec.config import S3Settings
from visrec.errors import AccessError, InputError, NotFoundError, OutsideError
from visrec.storage.base import ObjectInfo
from visrec.storage.parallel import results
from visrec.storage.retry import TRIES, Transient, persist
from visrec.storage.s3_errors import explain, may_pass, without_secrets

THREADS = 16
FIRST_TRIES, FIRST_SECONDS = 3, 10.0  # a store that never answered is given up soon: the address may be wrong
MD5 = re.compile("[0-9a-f]{32}")


class Damaged(OutsideError):
    """An object arrived, or was stored, with other bytes than it should have."""


class S3Store:
    """Objects in a bucket below a prefix.

    Parameters
    ----------
    bucket, prefix : where; the prefix is a folder, its trailing ``/`` may be left out
    s3 : how to reach it
    """

    def __init__(self, bucket: str, prefix: str, s3: S3Settings):
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.settings = s3
        self.url = f"s3://{s3.name}{'@' * bool(s3.name)}{bucket}/{self.prefix}".rstrip("/")
        self._listed: dict[str, ObjectInfo] = {}
        self._answered = False

    @functools.cached_property
    def client(self):
        """The boto3 client, shared by every store of the same settings (it is thread-safe)."""
        return client(self.settings)

    def check(self) -> None:
        """Raise the error that reading would meet: wrong key, no such bucket, no permission, no answer."""
        self._call("listing", self.client.list_objects_v2, Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, sorted by key, page by page."""
        more = {}
        while True:
            page = self._call(
                "listing", self.client.list_objects_v2, Bucket=self.bucket, Prefix=self.prefix + prefix, **more
            )
            for item in page.get("Contents", ()):
                info = self._info(item)
                self._listed[info.key] = info
                yield info
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, key: str) -> bytes:
        """The bytes of one object, verified by length and, where the ETag is an MD5, by content."""
        return self._persistent_read(key, self.get)

    def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """The bytes from ``start`` up to ``end`` of an object that still has this ETag; their number is verified."""

        def work(number: int) -> bytes:
            data = self._passing("reading", self._get_range, key, f"bytes={start}-{end - 1}", f'"{etag}"')
            if len(data) != end - start:
                raise Transient(Damaged(f"A part of '{key}' in {self.url} arrived with {len(data):,} bytes."))
            return data

        return self._persist(work, f"reading '{key}' in")

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object, asked for now."""
        return self._persist(lambda number: self._head(key), f"reading '{key}' in")

    def read_many(
        self, keys: Iterable[str], stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[str, bytes | Exception]]:
        """Read in parallel; a key that fails yields its exception, the others arrive all the same."""
        from visrec.storage.bulk import bulk_getter

        fast = bulk_getter(self)

        def get(key: str, number: int) -> tuple[bytes, str]:
            # every other try goes through boto3, whose errors say what is wrong
            return fast(key) if fast and number % 2 == 0 else self.get(key)

        return results(lambda key: self._persistent_read(key, get, stop), keys, threads=THREADS, stop=stop)

    def write(self, key: str, data: bytes) -> None:
        """Put the bytes there in one request: readers see the old object or the new one."""

        def put(**request) -> None:
            answer = self.client.put_object(**request)
            etag = answer.get("ETag", "").strip('"')
            if MD5.fullmatch(etag) and not answer.get("SSECustomerAlgorithm") and not _is_md5(data, etag):
                raise Transient(Damaged(f"'{key}' arrived in {self.url} with other bytes than were sent."))

        self._call("writing to", put, Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def delete(self, key: str) -> None:
        """Remove one object; nothing happens if it is not there."""
        self._call("deleting from", self.client.delete_object, Bucket=self.bucket, Key=self.prefix + key)
        self._listed.pop(key, None)

    def exists(self, key: str) -> bool:
        """Whether an object of that key is there."""
        try:
            self._call("reading", self.client.head_object, Bucket=self.bucket, Key=self.prefix + key)
        except NotFoundError:
            return False
        return True

    def sub(self, prefix: str) -> "S3Store":
        """The store below ``prefix``."""
        return S3Store(self.bucket, f"{self.prefix}{prefix.strip('/')}", self.settings) if prefix.strip("/") else self

    def local_path(self, key: str) -> None:
        """None: nothing of a bucket lies on this machine."""

    def get(self, key: str, number: int = 0) -> tuple[bytes, str]:
        """One GET through boto3: the bytes and the ETag that came with them, not yet verified."""
        answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)
        return answer["Body"].read(), answer.get("ETag", "").strip('"')

    def _get_range(self, key: str, span: str, etag: str) -> bytes:
        answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, Range=span, IfMatch=etag)
        return answer["Body"].read()

    def _persistent_read(self, key: str, get, stop: Callable[[], bool] | None = None) -> bytes:
        seen: deque[str] = deque(maxlen=1)

        def work(number: int) -> bytes:
            data, etag = self._passing("reading", get, key, number)
            self._verify(key, data, etag, seen)
            return data

        return self._persist(work, f"reading '{key}' in", stop)

    def _verify(self, key: str, data: bytes, etag: str, seen: deque[str]) -> None:
        """Raise `Transient` unless the bytes are those the store holds.

        The length must be the listed one. An ETag of 32 hex digits is the MD5, except under encryption with keys of
        one's own: two equal reads in a row are believed. An object that was never listed is asked about, unless the
        MD5 that came with it is right.
        """
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        listed = self._listed.get(key)
        if listed is None and digest == etag:
            return
        if listed is None or listed.etag != etag:  # never listed, or written since
            listed = self._head(key)
        if len(data) != listed.size:
            raise Transient(
                Damaged(f"'{key}' in {self.url} arrived with {len(data):,} bytes instead of {listed.size:,}.")
            )
        if MD5.fullmatch(listed.etag) and digest != listed.etag and digest not in seen:
            seen.append(digest)
            raise Transient(Damaged(f"'{key}' in {self.url} arrived with other bytes than the store lists."))

    def _head(self, key: str) -> ObjectInfo:
        head = self._passing("reading", self.client.head_object, Bucket=self.bucket, Key=self.prefix + key)
        size, etag = head["ContentLength"], head.get("ETag", "").strip('"')
        self._listed[key] = ObjectInfo(key, size, etag, head["LastModified"].timestamp())
        return self._listed[key]

    def _info(self, item: dict) -> ObjectInfo:
        key = item["Key"].removeprefix(self.prefix)
        return ObjectInfo(key, item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp())

    def _call(self, doing: str, function, **request):
        return self._persist(lambda number: self._passing(doing, function, **request), doing)

    def _passing(self, doing: str, function, *args, **request):
        """Call once; what may pass becomes `Transient`, the rest its sentence."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = function(*args, **request)
        except (Transient, AccessError, NotFoundError):
            raise
        except Exception as error:
            if may_pass(error):
                raise Transient(error) from error
            if isinstance(error, BotoCoreError | ClientError):
                raise self._missing_or(error, doing, request, args) from error
            raise
        self._answered = True
        return answer

    def _missing_or(self, error: Exception, doing: str, request: dict, args: tuple) -> Exception:
        said = explain(error, self.settings, self.bucket, doing)
        key = request.get("Key") or (args[0] if args else None)
        if isinstance(said, NotFoundError) and key and "no such object" in str(said):
            return NotFoundError(f"There is no '{key.removeprefix(self.prefix)}' in {self.url}.")
        return said

    def _persist(self, work, doing: str, stop: Callable[[], bool] | None = None):
        limits = {} if self._answered else {"tries": FIRST_TRIES, "seconds": FIRST_SECONDS}
        try:
            return persist(work, stop=stop, **{"tries": TRIES, **limits})
        except Transient as error:
            if isinstance(error.cause, Damaged):
                raise error.cause from error
            raise explain(error.cause, self.settings, self.bucket, doing) from error


def bucket_names(s3: S3Settings) -> list[str]:
    """Names of the buckets the credentials may list; where they may not, ``BUCKET`` alone."""
    store = S3Store(s3.bucket or "", "", s3)
    try:
        names = [b["Name"] for b in store._call("listing", store.client.list_buckets).get("Buckets", ())]
    except AccessError as error:
        if s3.bucket and "no permission" in str(error):
            return [s3.bucket]
        raise
    return sorted({*names, *([s3.bucket] if s3.bucket else [])})


@functools.lru_cache(maxsize=16)
def client(s3: S3Settings):
    """A boto3 client with the settings that lose nothing; see the module."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=s3.access_key_id, aws_secret_access_key=s3.secret_access_key, region_name=s3.region
    )
    config = Config(
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=20,
        max_pool_connections=THREADS,
        retries={"mode": "standard", "total_max_attempts": 3},
        # S3-compatible stores refuse the checksum trailers that newer clients send
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style(s3)},
    )
    try:
        return session.client(
            "s3",
            endpoint_url=s3.endpoint_url,
            region_name=session.region_name or "us-east-1",
            verify=s3.ca_bundle,
            config=config,
        )
    except ValueError as error:  # botocore's word for an address without a host, or with a blank in it
        raise InputError(
            f"The endpoint is '{without_secrets(s3.endpoint_url or '')}', which cannot be an address; expected "
            "ENDPOINT_URL like https://s3.eu-de.cloud-object-storage.appdomain.cloud."
        ) from error


def addressing_style(s3: S3Settings) -> str:
    """``path`` (host/bucket/key) for an endpoint of one's own, ``auto`` for AWS, unless the settings say otherwise."""
    return s3.addressing_style or ("path" if s3.endpoint_url else "auto")


def _is_md5(data: bytes, etag: str) -> bool:
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == etag
