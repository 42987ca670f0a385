"""Scores of EM stacks on disk: a reference of membranes and cells, a result of probabilities."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..images import read_image
from ..labelfiles.doubt import unlike_neighbours
from ..labelfiles.labelfolder import FramePair, check_shapes, pair_frames
from ..labelfiles.labelimages import open_labels, read_plane
from ..metrics import AtThreshold, best_over_thresholds, em_score
from ..progress import Progress

logger = logging.getLogger(__name__)

MAX_LABEL_SHARE = 1 / 16
"""An integer image up to this share of its type's maximum is taken for numbered cells."""


def score_stack(
    reference: Path | str, result: Path | str, thresholds: Sequence[float]
) -> dict[str, AtThreshold]:
    """Score a stack of probabilities, each measure at its best threshold.

    Parameters
    ----------
    reference, result : Path or str
        Two stacks (N, H, W) or images (H, W), or two folders with images of the same names.
        In the reference 0 is membrane and all else cell; the result is the probability of cell, a
        float in [0, 1], an integer whose type's maximum stands for 1, or a mask of 0 and one other
        value.
    thresholds : sequence of float
        In [0, 1); pixels with a probability above the threshold are cell.

    Returns
    -------
    dict of str to AtThreshold
        Keyed by the fields of `metrics.EmScore`.

    Raises
    ------
    InputError
        If the thresholds or the contents of the files are invalid, or the files do not match.
    """
    if not thresholds or not all(0 <= threshold < 1 for threshold in thresholds):
        raise InputError(
            f"thresholds {' '.join(map(str, thresholds)) or '(none)'}: give at least one, "
            "each 0 or more and less than 1."
        )
    pairs = pair_frames(reference, result)
    loaded = [_read_pair(pair) for pair in pairs]
    shapes = {truth.shape[1:] for truth, _ in loaded}
    if len(shapes) > 1:
        raise InputError(f"{reference} holds images of different sizes: score them one by one.")
    if len({found.dtype for _, found in loaded}) > 1:
        raise InputError(f"{result} holds images of different types: convert them to one type.")
    truth = np.concatenate([truth for truth, _ in loaded])
    probability = _as_probability(result, np.concatenate([found for _, found in loaded]))
    # A result that is already binary is the same at every threshold.
    if ((probability == 0) | (probability == 1)).all():
        thresholds = [min(thresholds)]
    bar = Progress(thresholds, "thresholds", leave=False)
    scores = [em_score(truth, probability > threshold) for threshold in bar]
    best = best_over_thresholds(scores, thresholds)
    if best["pixel_error"].value > 0.5:
        logger.warning(
            "more than half of the pixels are wrong: %s must hold the probability of cell, for a "
            "map of membranes 1 - p.",
            result,
        )
    return best


def _read_pair(pair: FramePair) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    found = read_image(pair.result)
    with open_labels(pair.reference) as image:
        check_shapes(pair, image.shape, found.shape)
        truth = np.stack([read_plane(image, plane) for plane in image.planes])
    size = (-1, *truth.shape[-2:])
    return (truth > 0).reshape(size), found.reshape(size)


def _as_probability(path: Path | str, image: NDArray[Any]) -> NDArray[np.floating[Any]]:
    if image.dtype.kind == "b":
        return image.astype(np.float32)
    if image.dtype.kind in "ui" and np.unique(image[image != 0]).size <= 1:
        return (image != 0).astype(np.float32)  # a mask, whatever value stands for cell
    if image.dtype.kind in "ui":
        one = np.iinfo(image.dtype).max
        if image.min() < 0:
            raise InputError(f"{path} holds {image.min()}: probabilities are not negative.")
        unlike, pairs = unlike_neighbours(image)
        if image.max() < one and 100 * unlike < pairs:
            raise InputError(
                f"{path} holds one number throughout each cell, as label images do: give a mask "
                "of 0 and one other number, or probabilities, if need be as floats from 0 to 1."
            )
        if image.max() <= one * MAX_LABEL_SHARE:
            found = f"{path} holds whole numbers up to {image.max()}, as numbered cells do"
            if image.dtype.itemsize > 1:
                raise InputError(
                    f"{found}, while {one} stands for a probability of 1: give probabilities, or a "
                    "mask of 0 and one other number."
                )
            logger.warning("%s: they are scored as probabilities, with %d as 1.", found, one)
        return image / np.float32(one)
    if np.isnan(image).any():
        raise InputError(f"{path} holds NaN: probabilities lie between 0 and 1.")
    rounding = 4 * float(np.finfo(image.dtype).eps)  # by a softmax
    if image.min() < -rounding or image.max() > 1 + rounding:
        raise InputError(
            f"{path} holds {image.dtype} values from {image.min():.9g} to {image.max():.9g}: "
            "probabilities lie between 0 and 1."
        )
    return image
