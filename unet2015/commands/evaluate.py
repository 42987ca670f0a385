"""Score a result against its reference.

REFERENCE is the NN_GT folder of a Cell Tracking Challenge sequence, a folder of label images or one
label image, TIFF, PNG or Zarr; RESULT is a folder with maskNNN.tif (and res_track.txt, if it is
tracked), a folder of label images with the same names, or one label image. Frames without a
reference do not count. With --em, both are stacks of membranes and cells instead, scored as the
ISBI 2012 EM challenge did.
"""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from ..errors import InputError
from ..evaluation import SequenceScore, score_sequence, tables
from ..evaluation.em import score_stack
from ..metrics import THRESHOLDS


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 evaluate``."""

    reference: Annotated[Positional[Path], arg(metavar="REFERENCE")]
    """Folder or image with the truth, such as NN_GT. With --em: 0 is membrane, all else cell."""
    result: Annotated[Positional[Path], arg(metavar="RESULT")]
    """Folder or image to score. With --em: probability of cell, in [0, 1] or of an integer type."""
    margin: int = 0
    """Width in pixels of the border outside the field of interest; objects and reference cells
    wholly in it are dropped. The challenge uses 50 for PhC-C2DH-U373 and DIC-C2DH-HeLa."""
    em: FlagCreatePairsOff[bool] = False
    """Score membranes: pixel, Rand and warping error, V_rand and V_info."""
    thresholds: tuple[float, ...] | None = None
    """With --em: probabilities above which a pixel is cell, the tenths by default; each measure
    takes its best."""
    cells: FlagCreatePairsOff[bool] = False
    """Print a line for each reference cell, too."""
    json: FlagCreatePairsOff[bool] = False
    """Print JSON instead of tables."""
    csv: Path | None = None
    """Folder for frames.csv and cells.csv."""
    picture: Path | None = None
    """Image file for a picture of the worst frames: image, reference, result, mistakes."""
    images: Path | None = None
    """With --picture or --report: folder of the microscope's images; by default NN beside NN_GT,
    images beside labels."""
    report: Path | None = None
    """HTML page with the worst frames and cells, to be looked at in a browser."""


def run(options: Options) -> None:
    """Score and print as `options` say."""
    if options.em:
        _run_em(options)
        return
    if options.thresholds is not None:
        raise InputError("--thresholds are for probabilities: give --em too, or leave them out.")
    _check_outputs(options)
    score = score_sequence(options.reference, options.result, options.margin)
    try:
        _write_files(options, score)
    finally:  # what cannot be written does not cost the scores, and no reader the files
        if options.json:
            print(json_format.dumps(tables.summary(score, options.margin), indent=2))
        else:
            print(tables.text(score, options.margin, cells=options.cells))


def _write_files(options: Options, score: SequenceScore) -> None:
    if options.csv is not None:
        tables.write_csv(options.csv, score)
    if options.picture is not None:
        from ..evaluation.picture import draw_mistakes

        draw_mistakes(options.picture, score, options.reference, options.result, options.images)
    if options.report is not None:
        _write_page(options.report, options, score)


def _check_outputs(options: Options) -> None:
    """Raise now what would stop a result from being written after the scoring."""
    if options.picture is not None:
        from ..evaluation.picture import check_picture

        check_picture(options.picture, options.reference, options.result, options.images)
    elif options.images is not None and options.report is None:
        raise InputError("--images are for --picture or --report: give one of these, too.")
    if options.report is not None:
        from ..labelfiles.labelfolder import folder_of_images
        from ..report import check_page

        check_page(options.report)
        folder_of_images(options.reference, options.images)
    if options.csv is not None:
        tables.check_csv(options.csv)


def _write_page(page: Path, options: Options, score: SequenceScore) -> None:
    from ..report import Report, write_page
    from ..report.gathering import worst_frames

    scored = worst_frames(score, options.reference, options.result, options.margin, options.images)
    title = f"unet2015: {options.result.resolve().name}"
    write_page(page, Report(title, scored=scored))


def _run_em(options: Options) -> None:
    if options.margin or options.cells or options.csv or options.picture or options.images:
        raise InputError(
            "--em knows no cells: leave out --margin, --cells, --csv, --picture and --images."
        )
    if options.report is not None:
        raise InputError("--em knows no cells, and a report is about them: leave out --report.")
    thresholds = THRESHOLDS if options.thresholds is None else options.thresholds
    best = score_stack(options.reference, options.result, thresholds)
    if options.json:
        print(json_format.dumps(tables.em_summary(best), indent=2))
    else:
        print(tables.em_text(best))
