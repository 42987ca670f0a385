"""How well tracks reproduce reference tracks: AOGM, DET and TRA of the challenge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cells import seg_from_table
from .overlap import Overlaps

# Cost of each correction of the graph, Matula et al. 2015.
SPLIT_VERTEX, ADD_VERTEX, DELETE_VERTEX = 5.0, 10.0, 1.0
DELETE_EDGE, ADD_EDGE, CHANGE_EDGE = 1.0, 1.5, 1.0

Vertex = tuple[int, int]
"""A cell in a frame: (frame, label)."""


class GraphErrors(NamedTuple):
    """How many corrections turn the result's lineage graph into the reference's.

    A vertex is a cell in a frame; an edge joins it to itself in the next frame (a link) or to its
    daughter or reappearance (a parent edge).

    Attributes
    ----------
    splits : int
        Splits needed: for each object that holds cells, their number minus one, summed.
    missed, extra : int
        Cells without an object, objects without a cell.
    edges_extra, edges_missed, edges_wrong : int
        Edges to delete, to add, and of the wrong kind.
    vertices, edges : int
        Size of the reference's graph.
    """

    splits: int
    missed: int
    extra: int
    edges_extra: int
    edges_missed: int
    edges_wrong: int
    vertices: int
    edges: int


def compare_lineages(
    frames: Sequence[Overlaps],
    reference_tracks: NDArray[np.integer],
    result_tracks: NDArray[np.integer],
) -> GraphErrors:
    """Count the corrections between a result's lineage and the reference's.

    Parameters
    ----------
    frames : sequence of Overlaps
        For each frame, from 0, the overlap table of reference markers and result.
    reference_tracks, result_tracks : integer array (N, 4)
        One row per track: label, first frame, last frame, label of the parent or 0, as in the
        challenge's ``man_track.txt`` and ``res_track.txt``. Without rows only the vertex counts are
        meaningful, which is all that DET needs.

    Returns
    -------
    GraphErrors

    Notes
    -----
    A cell is detected if an object holds more than half of it. Edges are compared between
    objects that hold exactly one cell; edges at other objects count as missed [1]_.

    References
    ----------
    .. [1] Matula et al., "Cell tracking accuracy measurement based on comparison of acyclic
       oriented graphs", PLoS ONE 10(12), 2015.
    """
    found: dict[Vertex, Vertex] = {}
    cells: set[Vertex] = set()
    objects: set[Vertex] = set()
    for frame, table in enumerate(frames):
        score = seg_from_table(table)
        cells.update((frame, label) for label in score.labels.tolist())
        objects.update((frame, label) for label in table.result_labels.tolist())
        for label, holder in zip(score.labels.tolist(), score.matched.tolist(), strict=True):
            if holder:
                found[frame, label] = (frame, holder)
    held = Counter(found.values())
    cell_of = {holder: cell for cell, holder in found.items() if held[holder] == 1}

    wanted = _edges(reference_tracks, cells)
    got = {
        (cell_of[a], cell_of[b]): is_parent
        for (a, b), is_parent in _edges(result_tracks, objects).items()
        if a in cell_of and b in cell_of
    }
    both = wanted.keys() & got.keys()
    return GraphErrors(
        splits=len(found) - len(held),
        missed=len(cells) - len(found),
        extra=len(objects) - len(held),
        edges_extra=len(got) - len(both),
        edges_missed=len(wanted) - len(both),
        edges_wrong=sum(wanted[edge] != got[edge] for edge in both),
        vertices=len(cells),
        edges=len(wanted),
    )


def _edges(tracks: NDArray[np.integer], vertices: set[Vertex]) -> dict[tuple[Vertex, Vertex], bool]:
    """List the edges between vertices that exist, with True for parent edges."""
    rows: list[list[int]] = tracks.tolist()
    last_frame = {label: end for label, _, end, _ in rows}
    last = max((frame for frame, _ in vertices), default=0)
    edges = {}
    for label, begin, end, parent in rows:
        for frame in range(begin, min(end, last)):
            edges[(frame, label), (frame + 1, label)] = False
        if parent:
            edges[(last_frame[parent], parent), (begin, label)] = True
    # A cell that the margin hides in some frames keeps its edges in the others.
    return {(a, b): kind for (a, b), kind in edges.items() if a in vertices and b in vertices}


def det(errors: GraphErrors) -> float:
    """Compute the detection accuracy, which missed, split and extra vertices lower.

    Notes
    -----
    ``DET = 1 - min(D, D0) / D0`` with ``D`` the cost of correcting the vertices and ``D0`` the cost
    of adding them all. nan for a reference without cells.

    Examples
    --------
    >>> det(GraphErrors(0, 1, 0, 0, 0, 0, vertices=4, edges=0))
    0.75
    """
    return _accuracy(_vertex_cost(errors), ADD_VERTEX * errors.vertices)


def tra(errors: GraphErrors) -> float:
    """Compute the tracking accuracy: like `det`, with the cost of correcting the edges added.

    Examples
    --------
    >>> tra(GraphErrors(0, 0, 0, 0, 1, 0, vertices=2, edges=1))  # one link missed: 1.5 of 21.5
    0.9302325581395349
    """
    cost = (
        _vertex_cost(errors)
        + DELETE_EDGE * errors.edges_extra
        + ADD_EDGE * errors.edges_missed
        + CHANGE_EDGE * errors.edges_wrong
    )
    return _accuracy(cost, ADD_VERTEX * errors.vertices + ADD_EDGE * errors.edges)


def _vertex_cost(errors: GraphErrors) -> float:
    return SPLIT_VERTEX * errors.splits + ADD_VERTEX * errors.missed + DELETE_VERTEX * errors.extra


def _accuracy(cost: float, cost_from_nothing: float) -> float:
    if not cost_from_nothing:
        return float("nan")
    return 1 - min(cost, cost_from_nothing) / cost_from_nothing
