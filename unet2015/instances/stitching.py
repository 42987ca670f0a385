"""Numbered cells of an image that does not fit in memory, as if it had been labelled whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .pieces import Components, Plane


class Cells(NamedTuple):
    """Numbered cells of a plane.

    Attributes
    ----------
    total : int
        The number of cells.
    labels : Plane
        0 for the background, 1...total for the cells; uint32.
    """

    total: int
    labels: Plane


def number_cells(
    foreground: Plane,
    block: tuple[int, int],
    min_size: int = 0,
    fill_holes: bool = False,
    neck_depth: float | None = None,
) -> Cells:
    """Number the 8-connected components of a plane exactly as `label_cells` does.

    Parameters
    ----------
    foreground : Plane
        Bool. It is read twice, and more often if holes are filled or cells cut at their necks.
    block : (int, int)
        Rows and columns that are labelled at once.
    min_size : int
        Cells of fewer pixels, counted over all blocks and after filling, become background.
    fill_holes : bool
        Whether background that is not 4-connected to the image's edge becomes foreground first.
    neck_depth : float, optional
        If given, cells are then cut at their necks, see `part_at_necks`.

    Returns
    -------
    Cells
        Numbered in raster order of their first pixels. Reading regions of whole blocks is fastest.
    """
    if fill_holes:
        foreground = _filled(foreground, block)
    if neck_depth is not None:
        from .necks import part_plane  # imports scikit-image, which takes half a second

        foreground = part_plane(foreground, neck_depth, min_size, block)
    found = Components(foreground, 8, block)
    kept = np.flatnonzero(found.size >= min_size)
    order = kept[np.argsort(found.first[kept])]
    number = np.zeros(len(found.size), np.uint32)
    number[order] = np.arange(1, len(order) + 1, dtype=np.uint32)
    return Cells(len(order), found.mapped(number))


def _filled(foreground: Plane, block: tuple[int, int]) -> Plane:
    background = Plane(foreground.shape, lambda rows, columns: ~foreground.read(rows, columns))
    found = Components(background, 4, block)
    holes = found.mapped(~found.at_edge)
    return Plane(
        foreground.shape,
        lambda rows, columns: foreground.read(rows, columns) | holes.read(rows, columns),
    )
