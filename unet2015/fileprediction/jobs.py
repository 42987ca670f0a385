"""Many images in one command: results are kept, and a damaged image does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ImageError
from ..images.fingerprint import fingerprint, image_state
from ..images.opening import image_files
from ..labelfiles.ctcnames import is_numbered
from . import RECORD
from .imagefile import explain_full_disk
from .results import Result
from .scratch import Scratch

logger = logging.getLogger(__name__)

Finished = MutableMapping[str, Any]
"""Maps names of results to the fingerprints of image and result."""


class Job(NamedTuple):
    """One image and its result."""

    source: Path
    target: Path
    is_frame: bool
    """Whether the result is a mask of a CTC sequence."""
    result: Result


class Failures:
    """Images that cannot be used: each is reported at once, without stopping the others.

    Parameters
    ----------
    images : int
        Number of images of the command; the failure of a single one is not caught.
    """

    def __init__(self, images: int) -> None:
        self._images, self._failed = images, 0

    @contextmanager
    def catch(self, job: Job) -> Iterator[None]:
        """Log and count the failure of a job whose image turns out to be unusable."""
        try:
            yield
        except ImageError as error:
            if self._images == 1:
                raise
            self._failed += 1
            old = f" {job.target} is left unchanged." if job.target.exists() else ""
            logger.error("%s%s", error, old)

    def __bool__(self) -> bool:
        return self._failed > 0

    def raise_if_any(self) -> None:
        """Raise if any image failed; call it when the others are done."""
        if self:
            raise ImageError(
                f"{self._failed} of {self._images} images could not be predicted: fix them and "
                "repeat the command, which predicts only what is missing."
            )


@contextmanager
def finished_jobs(
    jobs: Sequence[Job], purpose: Mapping[str, Any], overwrite: bool, failures: Failures
) -> Iterator[Finished]:
    """Record finished jobs in the folder of the results until all are done.

    A single image is not recorded, so that commands with one image each may run at the same time.

    Parameters
    ----------
    jobs : sequence of Job
        All jobs, including those of images that have already failed.
    purpose : mapping
        Everything that the results depend on except the images; see `Scratch`.
    overwrite : bool
        Whether to discard the record of an interrupted run.
    failures : Failures
        Failures of this run; if there are any, the record is kept.

    Yields
    ------
    Finished
        The record.
    """
    if len(jobs) == 1:
        yield {}
        return
    folder = jobs[0].target.parent
    scratch = Scratch(folder / RECORD, purpose, overwrite)
    with explain_full_disk(folder), scratch:
        yield scratch.ledger
        if failures:
            scratch.keep()
        else:
            scratch.remove()


@contextmanager
def explain_resumption(resumes: bool, overwrite: bool) -> Iterator[None]:
    """Say at Ctrl-C that repeating the command resumes it, if it does (`resumes`)."""
    try:
        yield
    except KeyboardInterrupt:
        if not resumes:
            raise
        without = " without --overwrite" if overwrite else ""
        how = f"the same command{without} resumes where it stopped"
        raise KeyboardInterrupt(how) from None


def is_done(job: Job, finished: Finished) -> bool:
    """Whether the result of an image exists, and neither has changed since it was recorded."""
    if job.target.name not in finished or not job.target.exists():
        return False
    return bool(finished[job.target.name] == _states(job, image_state(job.source)))


def set_done(job: Job, state: str, finished: Finished) -> None:
    """Record that the result of an image with fingerprint `state` is on disk."""
    finished[job.target.name] = _states(job, state)


def _states(job: Job, state: str) -> list[str]:
    return [state, fingerprint(job.target)]


def warn_of_other_masks(jobs: Sequence[Job]) -> None:
    """Warn of masks of other frames beside those of a sequence."""
    new = {job.target for job in jobs if job.is_frame}
    for folder in {mask.parent for mask in new}:
        others = [path for path in image_files(folder) if is_numbered(path) and path not in new]
        if others:
            names = ", ".join(path.name for path in others)
            logger.warning("%s holds masks of other frames, too: %s.", folder, names)
