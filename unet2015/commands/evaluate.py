"""Score a result against its reference.

REFERENCE is the NN_GT folder of a Cell Tracking Challenge sequence, a folder of label images, or
one label image (TIFF, PNG or Zarr). RESULT is a folder with maskNNN.tif (and res_track.txt, if
tracked), a folder of label images with the same names, or one label image. To t000.tif in a folder
of references belongs mask000.tif, too. Frames without a reference are not scored. With --em, both
are stacks of membranes and cells, scored as in the ISBI 2012 EM challenge.
"""

from __future__ import annotations

import json as json_format
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from ..errors import InputError
from ..evaluation import SequenceScore, score_sequence, tables
from ..evaluation.em import score_stack
from ..labelfiles.labelfolder import Components, folder_of_images
from ..metrics import THRESHOLDS


@dataclass(frozen=True)
class Options:
    """Options of ``unet2015 evaluate``."""

    reference: Annotated[Positional[Path], arg(metavar="REFERENCE")]
    """Ground truth, a folder such as NN_GT or an image. With --em: 0 is membrane, all else cell."""
    result: Annotated[Positional[Path], arg(metavar="RESULT")]
    """Folder or image to score. With --em: probability of cell, a float in [0, 1], an integer
    whose type's maximum stands for 1, or a mask of 0 and one other value."""
    margin: int = 0
    """Width in pixels of the border outside the field of interest; objects and reference cells
    entirely within it are dropped. The challenge uses 50 for PhC-C2DH-U373 and DIC-C2DH-HeLa."""
    connected_components: Components = "none"
    """Of masks without cell numbers: count each 8-connected component as a cell, in the reference,
    in the result or in both."""
    em: FlagCreatePairsOff[bool] = False
    """Score membranes: pixel, Rand and warping error, V_rand and V_info."""
    thresholds: tuple[float, ...] | None = None
    """With --em: thresholds in [0, 1) above which a pixel is cell, by default 0.1 to 0.9 in steps
    of 0.1; each measure is reported at its best threshold."""
    cells: FlagCreatePairsOff[bool] = False
    """Also print a line for each reference cell."""
    json: FlagCreatePairsOff[bool] = False
    """Print JSON instead of tables."""
    csv: Path | None = None
    """Folder for frames.csv and cells.csv."""
    picture: Path | None = None
    """Picture to write, of the worst frames: image, reference, result, mistakes."""
    images: Path | None = None
    """With --picture or --report: folder of the microscope images; by default NN next to NN_GT, or
    images next to labels."""
    report: Path | None = None
    """HTML page to write, with the worst frames and cells."""


def run(options: Options) -> None:
    """Score the result and print the measures."""
    if options.em:
        _run_em(options)
        return
    if options.thresholds is not None:
        raise InputError("--thresholds are for probabilities: give --em too, or leave them out.")
    _check_outputs(options)
    score = score_sequence(
        options.reference, options.result, options.margin, options.connected_components
    )
    try:
        _write_files(options, score)  # first, so that a closed stdout does not cost the files
    except Exception:  # a file that cannot be written does not cost the scores
        with suppress(BrokenPipeError):
            _print(options, score)
        raise
    _print(options, score)


def _print(options: Options, score: SequenceScore) -> None:
    if options.json:
        print(json_format.dumps(tables.summary(score, options.margin), indent=2), flush=True)
    else:
        print(tables.text(score, options.margin, cells=options.cells), flush=True)


def _write_files(options: Options, score: SequenceScore) -> None:
    if options.csv is not None:
        tables.write_csv(options.csv, score)
    if options.picture is not None:
        from ..evaluation.picture import draw_mistakes

        draw_mistakes(options.picture, score, options.reference, options.result, options.images)
    if options.report is not None:
        _write_page(options.report, options, score)


def _check_outputs(options: Options) -> None:
    """Refuse outputs that could not be written, before anything is scored."""
    if options.picture is not None:
        from ..evaluation.picture import check_picture

        check_picture(options.picture, options.reference, options.result, options.images)
    elif options.images is not None and options.report is None:
        raise InputError("--images is used by --picture and --report only: add one of them.")
    if options.report is not None:
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
    cells_only = ("margin", "connected_components", "cells", "csv", "picture", "images", "report")
    defaults = {field.name: field.default for field in fields(Options)}
    if given := [name for name in cells_only if getattr(options, name) != defaults[name]]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"--em does not score cells: leave out {flags}.")
    thresholds = THRESHOLDS if options.thresholds is None else options.thresholds
    best = score_stack(options.reference, options.result, thresholds)
    if options.json:
        print(json_format.dumps(tables.em_summary(best), indent=2))
    else:
        print(tables.em_text(best))
