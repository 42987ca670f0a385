"""Download a data set of the paper from where its makers publish it.

u373 and hela are the two sets of cells of the ISBI cell tracking challenge, em the membranes of the
ISBI 2012 challenge. A download that was cut goes on where it stopped. Mind the terms of use, which
are printed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..datasets.download import download, sha256_of
from ..datasets.official import OFFICIAL
from ..datasets.unpack import unpack
from ..errors import InputError

logger = logging.getLogger(__name__)

LARGEST = 2**30
"""Bytes that an archive may have; those of today have some tens of millions."""


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 fetch``."""

    data: Positional[Literal["u373", "hela", "em"]]
    """The data set."""
    to: Path = Path("data")
    """The folder that gets the folder of the data set."""


def run(options: Options) -> None:
    """Download and unpack as `options` say."""
    official = OFFICIAL[options.data]
    folder = options.to / official.folder
    if folder.exists():
        missing = [path for path in official.holds if not (folder / path).exists()]
        if missing:
            raise InputError(f"{folder} exists without {missing[0]}: move it away and try again.")
        logger.info("%s is there already.", folder)
    else:
        archive = options.to / Path(official.url).name
        brought = archive.exists()
        if not brought:
            download(official.url, archive, LARGEST, official.sha256)
        elif official.sha256 not in (None, sha256_of(archive)):
            raise InputError(f"{archive} is not the official one: remove it to download that.")
        unpack(archive, folder, official.holds)
        if brought:
            logger.info("%s was there before and is kept.", archive)
        else:
            archive.unlink()
        logger.info("%s is complete.", folder)
    logger.info("Terms: %s.\nPlease cite: %s.", official.terms, official.citation)
