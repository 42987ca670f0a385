"""The class weights w_c of Eq. 2."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import as_array
from ..errors import InputError

logger = logging.getLogger(__name__)


class ClassWeights(NamedTuple):
    """The two values of w_c."""

    foreground: float
    background: float


class ClassCounts(NamedTuple):
    """Numbers of foreground and background pixels in a data set; ignored ones are neither."""

    foreground: int
    background: int


FREIBURG = ClassWeights(foreground=1.0, background=0.1)
"""The class weights of the authors' later U-Net plugin (Falk et al., Nature Methods 2019)."""


def count_classes(target: ArrayLike, ignore: NDArray[np.bool_] | int | None = None) -> ClassCounts:
    """Count the foreground (non-zero) and background (zero) pixels of a target.

    Parameters
    ----------
    target : array of int or bool, any shape
        The target of the loss, where the ridges of `separate_touching` are background already.
    ignore : array of bool of the same shape, or int, optional
        Mask, or value in `target`, of pixels to leave out.

    Returns
    -------
    ClassCounts

    Raises
    ------
    InputError
        If `target` is a single number, or `ignore` is 0, bool, or not of the target's shape.
    """
    target = as_array(target)
    if target.ndim == 0:
        raise InputError(
            f"a target is {target}: give arrays of pixels, or ClassCounts(foreground, background)."
        )
    if ignore is None:
        inside = int(np.count_nonzero(target))
        return ClassCounts(inside, target.size - inside)
    valid = ~ignored_pixels(target, ignore)
    inside = int(np.count_nonzero((target != 0) & valid))
    return ClassCounts(inside, int(np.count_nonzero(valid)) - inside)


def balanced_class_weights(
    targets: ClassCounts | Iterable[ArrayLike], class_balance: float = 1.0
) -> ClassWeights:
    """Weigh each class by its frequency to the power of minus `class_balance`, with mean weight 1.

    Parameters
    ----------
    targets : ClassCounts, or iterable of arrays of int or bool
        The pixels of each class in the whole data set, or its targets (non-zero is foreground). To
        leave pixels out, pass counts from `count_classes`, added up by `add_counts`.
    class_balance : float
        From 0 for equal weights to 1 for inverse frequencies.

    Returns
    -------
    ClassWeights
        With full balance ``pixels / (2 * pixels of the class)``. Both are 1 if a class does not
        occur.

    Raises
    ------
    InputError
        If `class_balance` is out of range.

    Notes
    -----
    The paper says that w_c balances the class frequencies (Sec. 3) and gives no formula.

    Examples
    --------
    >>> balanced_class_weights(ClassCounts(foreground=100, background=900))
    ClassWeights(foreground=5.0, background=0.5555555555555556)
    """
    check_balance(class_balance)
    if isinstance(targets, ClassCounts):
        counts = targets
    else:
        counts = add_counts(map(count_classes, targets))
    if min(counts) == 0:
        return ClassWeights(1.0, 1.0)
    raw = [count**-class_balance for count in counts]
    mean = sum(count * weight for count, weight in zip(counts, raw, strict=True)) / sum(counts)
    return ClassWeights(*(weight / mean for weight in raw))


def check_balance(class_balance: float) -> None:
    """Refuse an invalid class balance."""
    if not 0 <= class_balance <= 1:
        raise InputError(f"the class balance is {class_balance}: it must be from 0 to 1.")


def add_counts(counts: Iterable[ClassCounts]) -> ClassCounts:
    """Add up the counts of several images."""
    total = ClassCounts(0, 0)
    for one in counts:
        total = ClassCounts(total.foreground + one.foreground, total.background + one.background)
    return total


def ignored_pixels(labels: NDArray[Any], ignore: NDArray[np.bool_] | int) -> NDArray[np.bool_]:
    """Mask of the pixels to leave out, given the mask itself or their value."""
    if isinstance(ignore, (int, np.integer)):
        if isinstance(ignore, bool) or ignore == 0:
            raise InputError(
                f"ignore is {ignore}: give a boolean mask of the pixels to leave out, or their "
                "value, which cannot be 0, the background."
            )
        return np.asarray(labels == ignore)
    mask = as_array(ignore)
    if mask.shape != labels.shape or mask.dtype != np.bool_:
        raise InputError(
            f"ignore is an array of {mask.dtype} of shape {mask.shape}: give an integer, or a "
            f"boolean mask of the labels' shape {labels.shape}."
        )
    return mask


def resolve_class_weights(
    class_weights: str | tuple[float, float] | None,
    cells: NDArray[Any],
    ignored: NDArray[np.bool_] | None,
) -> ClassWeights:
    """Resolve the `class_weights` of `border_weight_map` to a pair; log those given by name."""
    if class_weights is None:
        return ClassWeights(0.0, 0.0)
    if isinstance(class_weights, str):
        if class_weights == "balanced":
            pair = balanced_class_weights(count_classes(cells, ignored))
        elif class_weights == "freiburg":
            pair = FREIBURG
        else:
            raise InputError(
                f"class weights {class_weights!r} are unknown: use 'balanced', 'freiburg', "
                "a pair (foreground, background) or None."
            )
        logger.info("class weights (%s): foreground %.4g, background %.4g", class_weights, *pair)
        return pair
    if np.shape(class_weights) != (2,) or not all(
        0 <= w <= float(np.finfo(np.float32).max) for w in class_weights
    ):
        raise InputError(
            f"class weights are {class_weights}: give two finite numbers of at least 0, for "
            "foreground and background."
        )
    return ClassWeights(*class_weights)
