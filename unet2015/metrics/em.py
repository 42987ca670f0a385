"""The measures of the ISBI 2012 challenge on membranes in electron micrographs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..errors import InputError
from .overlap import Overlaps, overlap_table
from .warping import FOUR, bool_mask, warping_error

THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))


class EmScore(NamedTuple):
    """The measures of one stack; errors are best at 0, the V scores at 1.

    Attributes
    ----------
    pixel_error : float
        Share of pixels that are cell in one image and membrane in the other.
    pixel_f_error : float
        One minus the F-score of cell pixels.
    rand_error : float
        One minus the foreground-restricted Rand F-score, see `rand_f_score`.
    warping_error : float
        Share of pixels that warping does not explain, see `warping.warping_error`.
    splits_and_mergers : float
        Of these, only the pixels that split or merge cells.
    v_rand, v_info : float
        `rand_f_score` and `information_f_score` with the borders of the result thinned.
    """

    pixel_error: float
    pixel_f_error: float
    rand_error: float
    warping_error: float
    splits_and_mergers: float
    v_rand: float
    v_info: float


def em_score(reference: ArrayLike, result: ArrayLike) -> EmScore:
    """Score a stack of cells and membranes as the EM segmentation challenge did.

    Parameters
    ----------
    reference, result : bool array (N, H, W)
        True inside cells, False on membranes. Each slice is scored as a separate image.

    Returns
    -------
    EmScore

    Raises
    ------
    InputError
        If an array is not bool or three-dimensional, or the shapes differ.

    Notes
    -----
    As in the challenge's own software, pixels and pairs of pixels are pooled over the slices, while
    `v_rand` and `v_info` are means of the slices' scores.

    References
    ----------
    .. [1] Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms
       for connectomics", Frontiers in Neuroanatomy 9:142, 2015.
    """
    truth, found = bool_mask(reference), bool_mask(result)
    if truth.shape != found.shape or truth.ndim != 3:
        raise InputError(
            f"the reference has shape {truth.shape} and the result {found.shape}: "
            "give two stacks (slices, height, width) of the same size."
        )
    cells = [ndimage.label(image, FOUR)[0] for image in truth]
    plain = [overlap_table(a, ndimage.label(b, FOUR)[0]) for a, b in zip(cells, found, strict=True)]
    thinned = [overlap_table(a, thin_borders(b)) for a, b in zip(cells, found, strict=True)]
    warping = [warping_error(a, b) for a, b in zip(truth, found, strict=True)]
    both, either = int((truth & found).sum()), int(truth.sum()) + int(found.sum())
    return EmScore(
        pixel_error=float((truth != found).mean()),
        pixel_f_error=1 - (2 * both / either if either else 1.0),
        rand_error=1 - rand_f_score(plain),
        warping_error=float(np.mean([one.error for one in warping])),
        splits_and_mergers=float(np.mean([one.splits_and_mergers for one in warping])),
        v_rand=float(np.mean([rand_f_score([table]) for table in thinned])),
        v_info=float(np.mean([information_f_score(table) for table in thinned])),
    )


class AtThreshold(NamedTuple):
    """The best value of a measure, and the threshold of the probabilities that gave it."""

    value: float
    threshold: float


def best_over_thresholds(
    scores: Sequence[EmScore], thresholds: Sequence[float]
) -> dict[str, AtThreshold]:
    """Pick the best threshold for each measure, the same for the whole stack.

    Parameters
    ----------
    scores : sequence of EmScore
        The score at each threshold.
    thresholds : sequence of float
        A pixel is cell where its probability exceeds the threshold. The challenge tried the tenths
        from 0 to 1.

    Returns
    -------
    dict of str to AtThreshold
        Keyed by the fields of `EmScore`: the maximum of the V scores, the minimum of the errors.
    """
    best = {}
    for name, values in zip(EmScore._fields, zip(*scores, strict=True), strict=True):
        choose = max if name.startswith("v_") else min
        value = choose(values)
        best[name] = AtThreshold(value, thresholds[values.index(value)])
    return best


def rand_f_score(tables: Iterable[Overlaps]) -> float:
    """F-score of the foreground-restricted Rand index.

    Parameters
    ----------
    tables : iterable of Overlaps
        For each slice, the overlap table of reference and result.

    Returns
    -------
    float
        1 for a perfect result, and if the reference has no cell pixel.

    Notes
    -----
    Consider ordered pairs of pixels that are cell in the reference, including each pixel paired
    with itself. Let ``A`` be the number of pairs within one cell of the reference, ``B`` within one
    cell of the result, and ``AB`` within one cell of both. Precision is ``AB / B``, recall
    ``AB / A`` and the score ``2 AB / (A + B)``. Membrane pixels of the result count as cells of one
    pixel [1]_; `skimage.metrics.adapted_rand_error` counts them as one large cell, and leaves out
    the pairs of a pixel with itself.

    References
    ----------
    .. [1] Arganda-Carreras et al., Frontiers in Neuroanatomy 9:142, 2015.

    Examples
    --------
    >>> rand_f_score([overlap_table([[1, 1, 0, 2, 2]], [[1, 1, 0, 2, 2]])])
    1.0
    >>> rand_f_score([overlap_table([[1, 1, 0, 2, 2]], [[1, 1, 1, 1, 1]])])  # AB = A = 8, B = 16
    0.6666666666666666
    """
    in_both = in_reference = in_result = 0
    for table in tables:
        areas, alone = _restricted(table)
        in_both += int(np.square(table.shared).sum()) + alone
        in_reference += int(np.square(table.reference_areas).sum())
        in_result += int(np.square(areas).sum()) + alone
    pairs = in_reference + in_result
    return 2 * in_both / pairs if pairs else 1.0


def information_f_score(table: Overlaps) -> float:
    """F-score of the foreground-restricted mutual information of one slice.

    Parameters
    ----------
    table : Overlaps
        Overlap table of reference and result.

    Returns
    -------
    float
        1 for a perfect result, and if neither image divides the reference's cell pixels.

    Notes
    -----
    Pick a random cell pixel of the reference. Let ``H(A)`` and ``H(B)`` be the entropies of the
    cell that it lies in, in the reference and in the result, and ``I`` their mutual information.
    Precision is ``I / H(B)``, recall ``I / H(A)`` and the score ``2 I / (H(A) + H(B))``. Membrane
    pixels of the result count as cells of one pixel.

    Examples
    --------
    >>> information_f_score(overlap_table([[1, 1, 0, 2, 2]], [[7, 7, 0, 8, 8]]))
    1.0
    >>> information_f_score(overlap_table([[1, 1, 0, 2, 2]], [[1, 1, 1, 1, 1]]))
    0.0
    """
    areas, alone = _restricted(table)
    total = int(table.reference_areas.sum())
    if total == 0:
        return 1.0
    ones = np.ones(alone, np.int64)
    of_reference = _entropy(table.reference_areas, total)
    of_result = _entropy(np.concatenate([areas, ones]), total)
    of_both = _entropy(np.concatenate([table.shared, ones]), total)
    if of_reference + of_result == 0:
        return 1.0
    return 2 * (of_reference + of_result - of_both) / (of_reference + of_result)


def thin_borders(cells: ArrayLike) -> NDArray[np.int32]:
    """Grow the cells of a slice until one pixel of membrane separates them.

    Parameters
    ----------
    cells : bool array (H, W)
        True inside cells, False on membranes.

    Returns
    -------
    int32 array (H, W)
        Labels of the 4-connected cells, 0 on the borders between them. Cell pixels stay in their
        cell.

    Notes
    -----
    Each membrane pixel is assigned to the nearest cell. Of two neighbouring pixels in different
    cells, the left or upper one then becomes border, unless only the other was membrane. Membrane
    next to a single cell disappears. The challenge's software uses a watershed instead; on held-out
    slices that changes `EmScore.v_rand` by less than 0.0002 and `EmScore.v_info` by less than
    0.0005. Only the result's borders are thinned: the reference's are not scored anyway.

    Examples
    --------
    >>> thin_borders(np.array([[True, False, False, False, False, True]]))
    array([[1, 1, 0, 2, 2, 2]], dtype=int32)
    """
    mask = bool_mask(cells)
    labels = ndimage.label(mask, FOUR)[0]
    if not mask.any():
        return labels
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    grown = labels[tuple(nearest)]
    border = np.zeros(mask.shape, bool)
    below, above = np.s_[1:, :], np.s_[:-1, :]
    right, left = np.s_[:, 1:], np.s_[:, :-1]
    for before, after in ((above, below), (left, right)):
        parted = grown[before] != grown[after]
        border[before] |= parted & ~mask[before]
        border[after] |= parted & mask[before]
    return np.where(border, np.int32(0), grown)


def _restricted(table: Overlaps) -> tuple[NDArray[np.int64], int]:
    """Areas of result cells within reference cells, and the number of pixels in no result cell."""
    areas = np.bincount(table.result_index, weights=table.shared).astype(np.int64)
    return areas, int(table.reference_areas.sum() - table.shared.sum())


def _entropy(counts: NDArray[np.int64], total: int) -> float:
    share = counts[counts > 0] / total
    return float(-(share * np.log(share)).sum())
