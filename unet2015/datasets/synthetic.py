"""A simulator of crowded cells under phase contrast, with exact ground truth.

Cells are blobs that push each other apart, drift and change their outline from frame to frame. A
pixel belongs to the cell that it lies deepest in, so that cells touch without overlapping. They are
drawn with the difficulties of real images: a bright halo, a dim and uneven interior, little
contrast to the background and thin seams where cells touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..images import write_image
from ..labelfiles.trackfile import write_tracks

HARMONICS = np.arange(2, 6)


class SyntheticFrame(NamedTuple):
    """One frame of a simulated time-lapse."""

    image: NDArray[np.uint8]
    """Shape (height, width)."""
    labels: NDArray[np.uint16]
    """Cell numbers, constant over time, 0 for the background, shape (height, width)."""


@dataclass
class _Cells:
    """State of the simulated cells, one row each."""

    centre: NDArray[np.float64]  # (cells, 2), pixels
    velocity: NDArray[np.float64]  # (cells, 2), pixels per frame
    radius: NDArray[np.float64]  # (cells,), pixels
    outline: NDArray[np.complex128]  # (cells, harmonics), relative to the radius


def simulate(
    frames: int, shape: tuple[int, int], cells: int, generator: np.random.Generator
) -> Iterator[SyntheticFrame]:
    """Simulate a time-lapse.

    Parameters
    ----------
    frames : int
        Number of frames.
    shape : (int, int)
        Height and width in pixels.
    cells : int
        Number of cells; with radii of about 18 pixels, one per 1,500 pixels makes them crowded.
    generator : numpy.random.Generator
        The only source of randomness.

    Yields
    ------
    SyntheticFrame
        In temporal order.
    """
    height, width = shape
    crowd = _Cells(
        centre=generator.uniform((0, 0), shape, (cells, 2)),
        velocity=generator.normal(0, 1.0, (cells, 2)),
        radius=generator.uniform(13, 22, cells),
        outline=_random_outline(cells, generator),
    )
    for _ in range(30):
        _push_apart(crowd, shape)
    shading = ndimage.gaussian_filter(generator.normal(size=shape), min(height, width) / 4)
    shading *= 6 / max(np.abs(shading).max(), 1e-9)
    texture = generator.normal(size=shape)
    for _ in range(frames):
        labels = _draw_labels(crowd, shape)
        yield SyntheticFrame(_draw_image(labels, crowd, shading, texture, generator), labels)
        _move(crowd, shape, generator)


def write_sequence(data: Path, sequence: str, frames: Iterator[SyntheticFrame]) -> None:
    """Write a simulated time-lapse in the layout of the Cell Tracking Challenge.

    Parameters
    ----------
    data : Path
        Folder of the data set.
    sequence : str
        ``01``, ``02``, ...
    frames : iterator of SyntheticFrame
        From `simulate`.
    """
    truth = data / f"{sequence}_GT"
    tracks: dict[int, list[int]] = {}
    for number, frame in enumerate(frames):
        write_image(data / sequence / f"t{number:03d}.tif", frame.image)
        write_image(truth / "SEG" / f"man_seg{number:03d}.tif", frame.labels)
        write_image(truth / "TRA" / f"man_track{number:03d}.tif", frame.labels)
        for cell in np.unique(frame.labels[frame.labels > 0]).tolist():
            tracks.setdefault(cell, [cell, number, number, 0])[2] = number
    write_tracks(truth / "TRA" / "man_track.txt", np.array(sorted(tracks.values())))


def _random_outline(cells: int, generator: np.random.Generator) -> NDArray[np.complex128]:
    size = 0.22 / HARMONICS
    parts = generator.normal(0, size, (2, cells, len(HARMONICS)))
    return np.asarray(parts[0] + 1j * parts[1])


def _push_apart(crowd: _Cells, shape: tuple[int, int]) -> None:
    """Move overlapping cells away from each other, and all centres into the image."""
    away = crowd.centre[:, None] - crowd.centre[None]
    distance = np.hypot(away[..., 0], away[..., 1]) + 1e-9
    # 0.9 keeps touching cells pressed against each other.
    overlap = np.clip(0.9 * (crowd.radius[:, None] + crowd.radius[None]) - distance, 0, None)
    np.fill_diagonal(overlap, 0)
    crowd.centre += 0.25 * (away / distance[..., None] * overlap[..., None]).sum(axis=1)
    crowd.centre = np.clip(crowd.centre, 0, np.array(shape) - 1)


def _move(crowd: _Cells, shape: tuple[int, int], generator: np.random.Generator) -> None:
    cells = len(crowd.centre)
    crowd.velocity = 0.8 * crowd.velocity + generator.normal(0, 0.8, (cells, 2))
    crowd.centre = crowd.centre + crowd.velocity
    crowd.outline = 0.95 * crowd.outline + 0.3 * _random_outline(cells, generator)
    for _ in range(3):
        _push_apart(crowd, shape)


def _draw_labels(crowd: _Cells, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Assign every pixel to the cell that it lies deepest in."""
    labels = np.zeros(shape, np.uint16)
    depth = np.ones(shape)  # distance from the centre, 1 at the outline
    for cell, (centre, radius) in enumerate(zip(crowd.centre, crowd.radius, strict=True)):
        reach = int(2 * radius)
        top, left = (max(int(position) - reach, 0) for position in centre)
        rows = np.arange(top, min(int(centre[0]) + reach + 1, shape[0]))[:, None]
        columns = np.arange(left, min(int(centre[1]) + reach + 1, shape[1]))[None, :]
        down, across = rows - centre[0], columns - centre[1]
        direction = np.exp(1j * HARMONICS * np.arctan2(down, across)[..., None])
        outline = radius * np.clip(1 + (direction * crowd.outline[cell]).real.sum(-1), 0.5, 1.6)
        here = np.hypot(down, across) / outline
        window = (slice(top, top + len(rows)), slice(left, left + columns.size))
        deeper = here < depth[window]
        depth[window][deeper] = here[deeper]
        labels[window][deeper] = cell + 1
    return _largest_pieces(labels)


def _largest_pieces(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Drop the slivers that a neighbour cuts off a cell."""
    for cell, window in enumerate(ndimage.find_objects(labels), 1):
        if window is None:
            continue
        pieces, count = ndimage.label(labels[window] == cell)
        if count > 1:
            largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
            labels[window][(pieces != largest) & (pieces > 0)] = 0
    return labels


def _draw_image(
    labels: NDArray[np.uint16],
    crowd: _Cells,
    shading: NDArray[np.float64],
    texture: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    inside = labels > 0
    seams = inside & (ndimage.grey_erosion(labels, size=3) != ndimage.grey_dilation(labels, size=3))
    to_seam = ndimage.distance_transform_edt(~seams)
    to_cell = ndimage.distance_transform_edt(~inside)
    brightness = np.zeros(len(crowd.radius) + 1)
    # Every third cell has nearly the brightness of the background.
    brightness[1:] = np.resize([-9.0, -5.0, 2.0], len(crowd.radius))
    grain = 14 * ndimage.gaussian_filter(texture, 2.0) + 8 * ndimage.gaussian_filter(texture, 5.0)
    image = 120 + shading
    image += np.where(inside, brightness[labels] + 2 * grain, 0.5 * grain)
    image += 26 * np.exp(-((to_cell / 3) ** 2)) * ~inside
    image -= 22 * np.exp(-((to_seam / 1.8) ** 2)) * inside
    nuclei = np.zeros(labels.shape)
    rows, columns = crowd.centre.astype(int).T
    nuclei[rows, columns] = crowd.radius**2
    image -= 9 * ndimage.gaussian_filter(nuclei, 4.0)
    image = ndimage.gaussian_filter(image, 0.8) + generator.normal(0, 3.0, labels.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)
