"""Unpacking a zip or tar that a stranger made: only plain files, only below the goal, and no more than bargained for.

One name that would lead out, a file with holes or one packed in an unknown way refuses the whole archive; links,
devices and encrypted files are left out and counted. Sizes are counted as the bytes come, not believed from the
headers, so an archive that swells a hundredfold is given up early.
"""

import bz2
import contextlib
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from visrec.errors import InputError, OutsideError, RunError, VisrecError

CHUNK = 1 << 20
DAMAGES = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes
    ----------
    total : bytes in all
    ratio : bytes in all over the size of the archive; images hardly shrink, label tables thirtyfold at most
    free : bytes that unpack whatever the ratio
    files : number of files
    """

    total: int = 500_000_000_000
    ratio: int = 100
    free: int = 100_000_000
    files: int = 5_000_000

    def bytes_for(self, archive: int) -> int:
        """Bytes that an archive of this size may unpack to."""
        return min(self.total, max(self.free, self.ratio * archive))


class Meter:
    """Counts what comes out; raises when it is more than the limits allow, or when ``stop`` says so."""

    def __init__(self, archive: Path, limits: Limits, stop: Callable[[], bool] | None):
        self._most, self._most_files, self._stop = limits.bytes_for(archive.stat().st_size), limits.files, stop
        self.bytes = self.files = self.left_out = 0

    def add(self, count: int) -> None:
        """More bytes."""
        self.bytes += count
        if self.bytes > self._most:
            raise InputError(
                f"The archive unpacks to more than {self._most:,} bytes, far more than its own size explains; "
                "it was not unpacked."
            )
        if self._stop and self._stop():
            raise RunError("Unpacking was cancelled.")

    def add_file(self) -> None:
        """One more file."""
        self.files += 1
        if self.files > self._most_files:
            raise InputError(f"The archive holds more than {self._most_files:,} files; it was not unpacked.")


def unpack(
    archive: Path,
    folder: Path,
    *,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Meter:
    """Unpack ``archive`` (zip, tar, tar.gz, tar.bz2, tar.xz; told by its bytes) into the empty ``folder``.

    Parameters
    ----------
    progress : called with (bytes of the archive read, bytes in all)

    Returns
    -------
    Meter
        How many bytes and files came out, and how many entries (links, devices, encrypted) were left out.

    Raises
    ------
    InputError
        Not such an archive, damaged, or not safe to unpack; the message says which.
    OutsideError
        The disk is full.
    """
    limits = limits or Limits()
    meter = Meter(archive, limits, stop)
    entries = _zip_entries if zipfile.is_zipfile(archive) else _tar_entries
    try:
        for name, source, read in entries(archive, meter):
            key = safe_key(name)
            if key is None:
                continue
            meter.add_file()
            _write(folder / key, source, meter if entries is _zip_entries else None)
            if progress:
                progress(read(), archive.stat().st_size)
    except (*DAMAGES, OSError) as error:
        if isinstance(error, VisrecError) or getattr(error, "errno", None) is not None:
            raise
        raise InputError(f"The archive is damaged or cut off ({error or type(error).__name__}).") from error
    return meter


def safe_key(name: str) -> str | None:
    """The key of an entry; None for what operating systems leave behind.

    Raises
    ------
    InputError
        If the name leads out of the folder.

    Examples
    --------
    >>> safe_key("./train/1.jpg"), safe_key("a\\\\b.jpg"), safe_key("__MACOSX/._1.jpg")
    ('train/1.jpg', 'a/b.jpg', None)
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or "\0" in plain or (parts and parts[0].endswith(":")) or not parts:
        raise InputError(f"The archive holds '{name}', which would lead out of the bucket; it was not unpacked.")
    if plain.startswith(LITTER[0]) or parts[-1] in LITTER[1:]:
        return None
    return "/".join(parts)


def entry_name(info: zipfile.ZipInfo) -> str:
    """The name of an entry as its maker meant it: ``/`` where an old tool of Windows wrote a backslash, and UTF-8 where
    a tool wrote that without saying so (the zip of macOS), which Python takes for the DOS code page.

    >>> entry_name(zipfile.ZipInfo("Caf├⌐\\\\1.jpg"))
    'Café/1.jpg'
    """
    name = info.filename
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


Entries = Iterator[tuple[str, BinaryIO, Callable[[], int]]]


def _zip_entries(archive: Path, meter: Meter) -> Entries:
    with zipfile.ZipFile(archive) as whole:
        read = 0
        for info in whole.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            name = entry_name(info)
            if name.endswith("/"):
                continue
            if info.flag_bits & 1 or kind not in (0, stat.S_IFREG):  # encrypted, or a link
                safe_key(name)
                meter.left_out += 1
                continue
            read += info.compress_size
            with _opened(whole, info) as source:
                yield name, source, lambda read=read: read


def _opened(whole: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    try:
        return whole.open(info)
    except NotImplementedError as error:  # such as Deflate64, which Windows uses above 2 GB
        raise InputError(
            f"The archive packs '{info.filename}' in a way that cannot be unpacked here ({error}); it was not "
            "unpacked. Pack it anew as a plain zip or a tar."
        ) from error


class _Metered:
    """A stream that counts what is read from it, headers included."""

    def __init__(self, source, meter: Meter):
        self._source, self._meter = source, meter

    def read(self, count: int = -1) -> bytes:
        data = self._source.read(min(count, CHUNK) if count >= 0 else CHUNK)
        self._meter.add(len(data))
        return data


def _tar_entries(archive: Path, meter: Meter) -> Entries:
    with open(archive, "rb") as file:
        unpacked = _decompressed(file)
        try:
            whole = tarfile.open(fileobj=_Metered(unpacked, meter), mode="r|")  # noqa: SIM115 (closed below)
        except tarfile.ReadError as error:
            raise InputError(_not_an_archive(archive)) from error
        with whole:
            for member in whole:
                if member.isdir():
                    continue
                if not member.isreg():
                    meter.left_out += 1
                    continue
                if member.issparse():  # its holes come out of no bytes that the meter could count
                    raise InputError(
                        f"The archive holds '{member.name}' as a file with holes ({member.size:,} bytes); it was not "
                        "unpacked. Pack it anew without --sparse."
                    )
                yield member.name, whole.extractfile(member), file.tell


def _decompressed(file: BinaryIO):
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if head.startswith(b"\xfd7zXZ\0") else file


def _write(path: Path, source: BinaryIO, meter: Meter | None) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            if meter is None:
                shutil.copyfileobj(source, file, CHUNK)
                return
            while chunk := source.read(CHUNK):
                meter.add(len(chunk))
                file.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"The archive holds '{path.name}' both as a file and as a folder.") from error
    except OSError as error:
        if isinstance(error, VisrecError) or error.errno is None:  # ours, or a damaged archive: see `unpack`
            raise
        raise OutsideError(f"'{path.name}' could not be unpacked: {error.strerror}.") from error


def _not_an_archive(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(512).lstrip().lower()
    looks = (
        " It is a web page; a link to the file itself is needed." if head.startswith((b"<!doctype", b"<html")) else ""
    )
    return f"The file is neither a zip nor a tar.{looks} Expected an archive with images and their labels."
