"""Download a file: resumed where it was cut, checked, and never larger than it may be."""

from __future__ import annotations

import hashlib
import http.client
import logging
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from .. import __version__
from ..atomic import put
from ..errors import InputError
from ..progress import Progress

logger = logging.getLogger(__name__)

CHUNK = 2**18
NO_ISSUER = 20
"""What OpenSSL answers where the certificates of the authorities are not installed."""
TIMEOUT = 30.0
"""Seconds without an answer after which a download counts as cut."""


def download(url: str, target: Path, largest: int, sha256: str | None = None) -> None:
    """Download a file, going on where an earlier call was cut.

    Parameters
    ----------
    url : str
        ``http`` or ``https``.
    target : Path
        The file, whose folder is made if need be; while it is incomplete, it is called
        ``NAME.part``. Beside it, ``NAME.part.tag``
        has the mark of its version, by which the server knows whether the file has changed since.
    largest : int
        Bytes that it may have.
    sha256 : str, optional
        Its checksum; without one the checksum is logged, for the record.

    Raises
    ------
    InputError
        If the server does not have it, the connection breaks, or the file is not what it should be.
        What came through is kept, unless it is wrong.
    """
    part = target.with_name(f"{target.name}.part")
    tag = target.with_name(f"{part.name}.tag")
    try:
        _fetch(url, part, tag, largest)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = getattr(error, "reason", None)
        if isinstance(reason, ssl.SSLCertVerificationError) and reason.verify_code == NO_ISSUER:
            raise InputError(
                f"{url}: {error}. Python has no certificates that vouch for the server: on macOS "
                'run the "Install Certificates.command" in Python\'s folder of Applications.'
            ) from error
        raise InputError(
            f"{url}: {reason or error}. Check the connection; the same command goes on from here."
        ) from error
    tag.unlink(missing_ok=True)
    found = sha256_of(part)
    if sha256 is not None and found != sha256:
        part.unlink()
        raise InputError(
            f"{url}: the checksum is {found} instead of {sha256}. It was damaged on its way, or "
            "the file was changed: try once more, and if it stays so, ask where you got the link."
        )
    logger.info("%s: sha256 %s%s.", target.name, found, "" if sha256 else " (not known before)")
    put(part, target)


def _fetch(url: str, part: Path, tag: Path, largest: int) -> None:
    have = part.stat().st_size if part.exists() else 0
    with _open(url, have, tag.read_text() if have and tag.exists() else None) as answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if not resumed:
            have = 0
            part.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)  # before its tag speaks of another version
            tag.write_text(_version(answer))
        total = _total(answer, have)
        if total is not None and total > largest:
            raise InputError(_too_large(url, total, largest))
        with (
            part.open("ab" if resumed else "wb") as file,
            Progress(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            while chunk := answer.read1(CHUNK):
                have += len(chunk)
                if have > largest:
                    raise InputError(_too_large(url, have, largest))
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and have < total:
        raise InputError(
            f"{url}: the connection was cut after {have:,} of {total:,} bytes. "
            "The same command goes on from here."
        )


def _open(url: str, have: int, version: str | None) -> http.client.HTTPResponse:
    """Ask for what is missing, or for everything if what we have is of no known version."""
    request = urllib.request.Request(url, headers={"User-Agent": f"unet2015/{__version__}"})
    if version:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)  # whatever has changed since comes as a whole
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and version:
            return _open(url, 0, None)  # what we have is not a part of what there is now
        raise
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        start = answer.headers.get("Content-Range", "")
        if not start.startswith(f"bytes {have}-"):
            answer.close()
            return _open(url, 0, None)
    return answer


def _version(answer: http.client.HTTPResponse) -> str:
    """What tells this version of the file from others; weak tags may not be used for ranges."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _total(answer: http.client.HTTPResponse, have: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return None if length is None else have + int(length)


def _too_large(url: str, size: int, largest: int) -> str:
    return f"{url} has {size:,} bytes or more: {largest:,} at most were expected, so it was left."


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
