"""Download a file with resumption, a checksum and a size limit."""

from __future__ import annotations

import hashlib
import http.client
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import __version__
from ..atomic import rename
from ..errors import InputError
from ..progress import Progress

logger = logging.getLogger(__name__)

CHUNK = 2**18
NO_ISSUER = 20
"""OpenSSL's error code if the root certificates are not installed."""
TIMEOUT = 30.0
"""Seconds without an answer after which a download counts as interrupted."""


def download(url: str, target: Path, largest: int, sha256: str | None = None) -> None:
    """Download a file, resuming an earlier, interrupted call.

    Parameters
    ----------
    url : str
        ``http`` or ``https``.
    target : Path
        The file; its folder is created if needed. While incomplete, it is called ``NAME.part``;
        ``NAME.part.tag`` beside it tells the server which version was begun.
    largest : int
        Maximum size in bytes.
    sha256 : str, optional
        Expected checksum in hexadecimal; without one any is accepted. The actual one is logged.

    Raises
    ------
    InputError
        If the server does not have the file, the connection breaks, or the file is too large or
        has another checksum. What was received is kept, unless its checksum is wrong.
    OSError
        If the file cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    tag = target.with_name(f"{part.name}.tag")
    _fetch(url, part, tag, largest)
    tag.unlink(missing_ok=True)
    found = sha256_of(part)
    if sha256 is not None and found != sha256:
        part.unlink()
        raise InputError(
            f"{url}: the checksum is {found} instead of {sha256}. The download was damaged, or "
            "the file was changed: try again and, if that fails, too, ask where you got the link."
        )
    logger.info("%s: sha256 %s%s.", target.name, found, "" if sha256 else " (not verified)")
    rename(part, target)


def _fetch(url: str, part: Path, tag: Path, largest: int) -> None:
    have = part.stat().st_size if part.exists() else 0
    begun = tag.read_text() if have and tag.exists() else None
    with _explain(url):
        answer = _open(url, have, begun)
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if not resumed:
            have = 0
            part.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)  # first, so that it never has the tag of another version
            tag.write_text(_version(answer))
        total = _total(answer, have)
        if total is not None and total > largest:
            raise InputError(_too_large(url, total, largest))
        try:
            with (
                part.open("ab" if resumed else "wb") as file,
                Progress(
                    total=total, initial=have, unit="B", unit_scale=True, desc=part.stem
                ) as bar,
            ):
                for chunk in _chunks(url, answer):
                    have += len(chunk)
                    if have > largest:
                        raise InputError(_too_large(url, have, largest))
                    file.write(chunk)
                    bar.update(len(chunk))
        except OSError as error:  # on a full disk it does not name the file
            error.filename = error.filename or str(part)
            raise
    if total is not None and have < total:
        raise InputError(
            f"{url}: the connection was cut after {have:,} of {total:,} bytes: "
            "repeat the command to resume."
        )


def _chunks(url: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    with _explain(url):
        while chunk := answer.read1(CHUNK):
            yield chunk


@contextmanager
def _explain(url: str) -> Iterator[None]:
    """Turn errors of server and connection into sentences."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None)
        if isinstance(reason, ssl.SSLCertVerificationError) and reason.verify_code == NO_ISSUER:
            raise InputError(
                f"{url}: {error}. Python lacks the root certificates to verify the server: on "
                'macOS run "Install Certificates.command" in Python\'s folder in Applications.'
            ) from error
        raise InputError(
            f"{url}: {reason or error}: check the connection and repeat the command to resume."
        ) from error


def _open(url: str, have: int, version: str | None) -> http.client.HTTPResponse:
    """Request the missing bytes, or the whole file if the version of the part is unknown."""
    request = urllib.request.Request(url, headers={"User-Agent": f"unet2015/{__version__}"})
    if version:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)  # a file that has changed since is sent whole
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and version:
            return _open(url, 0, None)  # the part does not belong to the present file
        raise
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        start = answer.headers.get("Content-Range", "")
        if not start.startswith(f"bytes {have}-"):
            answer.close()
            return _open(url, 0, None)
    return answer


def _version(answer: http.client.HTTPResponse) -> str:
    """ETag or, if that is weak and thus invalid for ranges, modification date of the file."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _total(answer: http.client.HTTPResponse, have: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return None if length is None else have + int(length)


def _too_large(url: str, size: int, largest: int) -> str:
    return f"{url} has {size:,} bytes or more, but at most {largest:,} were expected: refused."


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
