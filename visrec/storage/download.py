"""A download: one file from a public link, whole or not there, gone on with where it was cut.

What has arrived lies beside the goal as ``<name>.part`` with the server's tag of it; a later try, in this process or
another, asks for the rest only (``Range`` with ``If-Range``), so a file that changed meanwhile is begun anew instead of
being mixed. Length and, if given, SHA-256 are checked before the file gets its name.
"""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from visrec.errors import AccessError, InputError, NotFoundError, OutsideError, RunError
from visrec.storage.retry import Transient, persist

TIMEOUT_SECONDS = 30.0  # without a single byte
CHUNK = 1 << 20
SPARE_BYTES = 200_000_000
Progress = Callable[[int, int], None]
Stop = Callable[[], bool]


@dataclass
class Part:
    """What has arrived so far: where it lies, and the server's tag (strong ETag or date) of the file it is part of."""

    path: Path
    url: str
    tag: str | None = None

    @classmethod
    def found(cls, goal: Path, url: str) -> "Part":
        """The part that an earlier try left, if it is of the same link."""
        part = cls(goal.with_name(goal.name + ".part"), url)
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads(part._note.read_text())
            if known["url"] == url:
                part.tag = known["tag"]
        if part.tag is None:
            part.begin(None)
        return part

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def begin(self, tag: str | None) -> None:
        """Throw away what is there; the bytes to come belong to ``tag``."""
        self.path.write_bytes(b"")
        self.tag = tag
        self._note.write_text(json.dumps({"url": self.url, "tag": tag}))

    def finish(self, goal: Path) -> None:
        """Give the file its name."""
        os.replace(self.path, goal)
        self._note.unlink(missing_ok=True)


def download(
    url: str,
    goal: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    timeout: float = TIMEOUT_SECONDS,
    **patience,
) -> Path:
    """Bring the file at ``url`` to ``goal``.

    Parameters
    ----------
    url : http or https; redirects are followed, but not from https to http
    goal : the file to make; its folder must exist. If it is there already (and has the checksum), nothing is read
    sha256 : 64 hex digits that the file must have
    progress : called with (bytes so far, bytes in all; 0 where the server does not say)
    stop : True ends the work; what has arrived is kept for the next time
    timeout : seconds without a byte after which the connection is given up and made anew
    patience : options of `visrec.storage.retry.persist`; the count of tries begins anew whenever bytes arrived

    Raises
    ------
    InputError, NotFoundError
        No such link, not a web address, or another checksum than expected.
    AccessError, OutsideError
        Refused; unreachable or failing after all tries; disk full.
    RunError
        ``stop`` said so.
    """
    check_link(url)
    sha256 = _checked_sum(sha256)
    if goal.is_file() and (sha256 is None or _sha256(goal) == sha256):
        return goal
    part = Part.found(goal, url)
    attempt = _attempt(url, part, progress, stop, timeout)
    try:
        while not persist(attempt, stop=stop, **patience):
            pass
    except Transient as error:
        raise OutsideError(
            f"{shown(url)} could not be read to its end: {error}. {part.size:,} bytes are kept; try again later."
        ) from error
    if sha256 and (found := _sha256(part.path)) != sha256:
        part.begin(None)
        raise InputError(f"{shown(url)} has the SHA-256 {found}; expected {sha256}. It was thrown away.")
    part.finish(goal)
    return goal


def check_link(url: str) -> None:
    """Refuse what is no web address."""
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # "http://[x", or a port that is no number
        usable = False
    if not usable:
        raise InputError(f"'{shown(url)}' is not a link to a file; expected https://... or http://...")
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise InputError(
            f"The link {shown(url)} has a blank or a letter outside ASCII in it; expected %20 in the place of a blank, "
            "as a browser copies an address."
        )


def shown(url: str) -> str:
    """The link as it may be shown: without a password and without its query, which often holds a signature.

    >>> shown("https://me:secret@host/a.zip?sig=abc"), shown("http://me:secret@[x/a.zip?sig=abc")
    ('https://host/a.zip', 'http://[x/a.zip')
    """
    scheme, mark, rest = url.partition("#")[0].partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        secure = req.full_url.startswith("https:")
        if not newurl.startswith("https:") and (secure or not newurl.startswith("http:")):
            raise InputError(f"{shown(req.full_url)} leads on to {shown(newurl)}, which is not safe to follow.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _attempt(url: str, part: Part, progress, stop, timeout: float) -> Callable[[int], bool]:
    """One request; True: the file is whole, False: cut, but further than ever before; `Transient`: no further."""
    farthest = part.size

    def work(number: int) -> bool:
        nonlocal farthest
        try:
            with _opened(url, part, timeout) as answer:
                total = _begin(answer, part)
                _copy(answer, part, total, progress, stop)
                return True
        except Transient:
            if part.size <= farthest:
                raise
            farthest = part.size
            return False

    return work


def _opened(url: str, part: Part, timeout: float):
    headers = {"User-Agent": "visrec", "Accept-Encoding": "identity"}
    if part.size and part.tag:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.tag}
    opener = urllib.request.build_opener(_Redirects)
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error, part) from error
    except (InputError, RunError):
        raise
    except http.client.InvalidURL:  # its text holds the whole link, and with it a signature
        raise InputError(f"The link {shown(url)} leads to an address that cannot be asked for. Check it.") from None
    except (OSError, http.client.HTTPException) as error:
        raise Transient(error) from error


def _refusal(url: str, error: urllib.error.HTTPError, part: Part) -> Exception:
    if error.code == 416:  # what we hold is longer than the file: it is another file by now
        part.begin(None)
    if error.code in (408, 416, 425, 429) or error.code >= 500:
        return Transient(OutsideError(f"the server answered {error.code} {error.reason}"))
    if 300 <= error.code < 400:
        return InputError(f"{shown(url)} leads on in circles, or to what is not safe to follow. Check the link.")
    if error.code in (404, 410):
        return NotFoundError(f"There is nothing at {shown(url)} (the server answered {error.code}). Check the link.")
    if error.code in (401, 403):
        return AccessError(
            f"{shown(url)} may not be read (the server answered {error.code}). A public link is needed; "
            "a signed one may have expired."
        )
    return OutsideError(f"{shown(url)} cannot be read: the server answered {error.code} {error.reason}.")


def _begin(answer, part: Part) -> int:
    """Make the part fit the answer; the length of the whole file, 0 if unknown."""
    length = int(answer.headers.get("Content-Length") or 0)
    start, total = 0, length
    if answer.status == 206:
        said = answer.headers.get("Content-Range", "")
        start, total = _range(said)
        if length and not total:  # "5-9/*": the whole length is not told, but where this piece ends is
            total = start + length
    if answer.status != 206 or start != part.size:
        part.begin(_tag(answer.headers))
        if start:
            raise Transient(OutsideError("the server sent another piece than was asked for"))
    if total and total - part.size + SPARE_BYTES > (free := shutil.disk_usage(part.path.parent).free):
        raise OutsideError(
            f"The file has {total / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {part.path.parent}. "
            "Free some space, or point VISREC_CACHE to a larger disk."
        )
    return total


def _range(said: str) -> tuple[int, int]:
    """Start and whole length from ``bytes 5-9/10``; (-1, 0) where it cannot be read."""
    with contextlib.suppress(ValueError):
        span, _, total = said.removeprefix("bytes ").partition("/")
        return int(span.partition("-")[0]), int(total) if total != "*" else 0
    return -1, 0


def _tag(headers) -> str | None:
    """What the rest may be asked for by: a strong ETag, else the date; a weak ETag does not promise equal bytes."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _copy(answer, part: Part, total: int, progress, stop) -> None:
    with open(part.path, "ab") as file:
        done = file.tell()
        while True:
            if stop and stop():
                raise RunError("The download was cancelled; what has arrived is kept for the next time.")
            try:
                chunk = answer.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise Transient(OutsideError(str(error) or type(error).__name__)) from error
            if not chunk:
                break
            _write(file, chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if total and done != total:
        raise Transient(OutsideError(f"it ended after {done:,} of {total:,} bytes"))


def _write(file, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise OutsideError(f"The download could not be written to {file.name}: {error.strerror}.") from error


def _checked_sum(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    plain = sha256.strip().lower().removeprefix("sha256:")
    if len(plain) != 64 or set(plain) - set("0123456789abcdef"):
        raise InputError(f"'{sha256}' is not a SHA-256 checksum; expected 64 hex digits.")
    return plain


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
