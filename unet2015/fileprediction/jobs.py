"""Many images in one command: what is done stays done, and one that is damaged stops no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ImageError
from ..images.fingerprint import fingerprint, image_state
from ..images.opening import image_files
from ..labelfiles.labelfolder import is_numbered
from .imagefile import explained_full_disk
from .results import Result
from .scratch import Scratch

logger = logging.getLogger(__name__)

Finished = MutableMapping[str, Any]
"""Names of results, with the fingerprints of the image and of the result."""


class Job(NamedTuple):
    """One image and its result."""

    source: Path
    target: Path
    is_frame: bool
    result: Result


class Failures:
    """Images that cannot be used: each is told at once, and the others go on.

    Parameters
    ----------
    images : int
        How many the command has; the failure of a single one is not caught.
    """

    def __init__(self, images: int) -> None:
        self._images, self._failed = images, 0

    @contextmanager
    def caught(self, job: Job) -> Iterator[None]:
        """Tell and count it if the image of a job turns out not to be usable."""
        try:
            yield
        except ImageError as error:
            if self._images == 1:
                raise
            self._failed += 1
            old = f" {job.target} stays as it was." if job.target.exists() else ""
            logger.error("%s%s", error, old)

    def __bool__(self) -> bool:
        return self._failed > 0

    def answer(self) -> None:
        """Raise if there were any, when the other images are done."""
        if self:
            raise ImageError(
                f"{self._failed} of {self._images} images could not be predicted: mend them and "
                "repeat the command, which does what is missing."
            )


@contextmanager
def finished_jobs(
    jobs: Sequence[Job], purpose: Mapping[str, Any], overwrite: bool, failures: Failures
) -> Iterator[Finished]:
    """Keep in the folder of the results what is done, until all is.

    Nothing is kept of a single image, so that commands with one each may run at the same time.

    Parameters
    ----------
    jobs : sequence of Job
        All, also of images that have failed already.
    purpose : mapping
        Everything that they depend on except the images; see `Scratch`.
    overwrite : bool
        Whether to forget what an interrupted run has done.
    failures : Failures
        Of this run: while there are any, the results that are done stay known.
    """
    if len(jobs) == 1:
        yield {}
        return
    folder = jobs[0].target.parent
    scratch = Scratch(folder / ".unet2015", purpose, overwrite)
    with explained_full_disk(folder), scratch:
        yield scratch.ledger
        scratch.keep() if failures else scratch.remove()


@contextmanager
def telling_how_to_go_on(goes_on: bool, overwrite: bool) -> Iterator[None]:
    """Say at Ctrl-C that the command may be repeated, if it `goes_on`."""
    try:
        yield
    except KeyboardInterrupt:
        if not goes_on:
            raise
        without = " without --overwrite" if overwrite else ""
        how = f"the same command{without} goes on where it stopped"
        raise KeyboardInterrupt(how) from None


def is_done(job: Job, finished: Finished) -> bool:
    """Whether a result is there, of the image as it is now, and nothing has replaced it since."""
    if job.target.name not in finished or not job.target.exists():
        return False
    return bool(finished[job.target.name] == _states(job, image_state(job.source)))


def set_done(job: Job, state: str, finished: Finished) -> None:
    """Take down that a result is on the disk, of the image in a `state`."""
    finished[job.target.name] = _states(job, state)


def _states(job: Job, state: str) -> list[str]:
    return [state, fingerprint(job.target)]


def tell_other_masks(jobs: Sequence[Job]) -> None:
    """Warn of masks beside those of a sequence that are of other frames."""
    new = {job.target for job in jobs if job.is_frame}
    for folder in {mask.parent for mask in new}:
        others = [path for path in image_files(folder) if is_numbered(path) and path not in new]
        if others:
            names = ", ".join(path.name for path in others)
            logger.warning("%s holds masks of other frames, too: %s.", folder, names)
