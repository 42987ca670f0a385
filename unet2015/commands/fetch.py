"""Download a data set of the paper from its original source.

u373 and hela are the two cell data sets of the ISBI cell tracking challenge, em the membranes of
the ISBI 2012 challenge. An interrupted download resumes where it stopped. Mind the terms of use,
which are printed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..atomic import check_writable
from ..datasets.download import download, sha256_of
from ..datasets.official import OFFICIAL
from ..datasets.unpack import unpack
from ..errors import InputError

logger = logging.getLogger(__name__)

LARGEST = 2**30
"""Largest archive to download, in bytes; the current ones have tens of millions."""


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 fetch``."""

    data: Positional[Literal["u373", "hela", "em"]]
    """The data set."""
    to: Path = Path("data")
    """Folder in which to create the folder of the data set."""


def run(options: Options) -> None:
    """Download and unpack the data set, and print its terms."""
    official = OFFICIAL[options.data]
    folder = options.to / official.folder
    if folder.exists():
        missing = [path for path in official.holds if not (folder / path).exists()]
        if missing:
            raise InputError(f"{folder} exists but lacks {missing[0]}: move it away and try again.")
        logger.info("%s already exists.", folder)
    else:
        archive = options.to / Path(official.url).name
        existed = archive.exists()
        check_writable(archive)
        if not existed:
            download(official.url, archive, LARGEST, official.sha256)
        elif official.sha256 not in (None, sha256_of(archive)):
            raise InputError(f"{archive} is not the official archive: delete it and try again.")
        unpack(archive, folder, official.holds)
        if existed:
            logger.info("%s existed before and is kept.", archive)
        else:
            archive.unlink()
        logger.info("%s is complete.", folder)
    logger.info("Terms: %s.\nPlease cite: %s.", official.terms, official.citation)
