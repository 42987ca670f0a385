"""Sources and terms of the paper's data sets."""

from __future__ import annotations

from typing import NamedTuple


class Official(NamedTuple):
    """A data set as published."""

    folder: str
    """Name of the folder to unpack it to."""
    url: str
    """A zip archive whose only top folder holds the data."""
    sha256: str | None
    """Checksum of the archive, None if none is published."""
    holds: tuple[str, ...]
    """Some of the paths in it."""
    terms: str
    """Terms of use."""
    citation: str
    """What to cite."""


_CTC = "https://data.celltrackingchallenge.net/training-datasets"
_CTC_HOLDS = ("01", "01_GT/SEG", "01_GT/TRA", "02", "02_GT/SEG", "02_GT/TRA")
_CTC_TERMS = (
    "no open licence: cite the challenge and the providers; scientific use other than for the "
    "challenge needs the permission of the providers, commercial use that of the organizers too "
    "(see celltrackingchallenge.net)"
)
_CTC_CITATION = (
    "Maska et al., The Cell Tracking Challenge: 10 years of objective benchmarking, "
    "Nature Methods 20, 1010-1020 (2023), doi:10.1038/s41592-023-01879-y"
)

OFFICIAL = {
    "u373": Official(
        "PhC-C2DH-U373",
        f"{_CTC}/PhC-C2DH-U373.zip",
        "b18185c18fce54e8eeb93e4bbb9b201d757add9409bbf2283b8114185a11bc9e",
        _CTC_HOLDS,
        _CTC_TERMS,
        _CTC_CITATION + "; data by Sanjay Kumar's group, University of California, Berkeley",
    ),
    "hela": Official(
        "DIC-C2DH-HeLa",
        f"{_CTC}/DIC-C2DH-HeLa.zip",
        "832fed2d05bb7488cf9c51a2994b75f8f3f53b3c3098856211f2d39023c34e1a",
        _CTC_HOLDS,
        _CTC_TERMS,
        _CTC_CITATION + "; data by Gert van Cappellen, Erasmus Medical Center, Rotterdam",
    ),
    "em": Official(
        "ISBI-2012-EM",
        "https://downloads.imagej.net/ISBI-2012-challenge.zip",
        None,
        ("train-volume.tif", "train-labels.tif", "test-volume.tif"),
        "free for making and testing non-commercial segmentation software, with citation",
        "Cardona et al., PLoS Biology 8(10): e1000502 (2010), doi:10.1371/journal.pbio.1000502; "
        "Arganda-Carreras et al., Frontiers in Neuroanatomy 9:142 (2015), "
        "doi:10.3389/fnana.2015.00142",
    ),
}
