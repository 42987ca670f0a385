"""Write OME-Zarr 0.4 chunk by chunk.

Version 0.4 (Zarr 2) rather than 0.5 (Zarr 3), since every program that reads 0.5 also reads 0.4,
and Bio-Formats, and hence Fiji and QuPath, has read 0.4 for years.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr

from ..progress import Progress
from .pyramid import TILE, Sliceable, blocks, level_shapes
from .source import PixelSize

_AXES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_UNITS = {"µm": "micrometer", "s": "second"}
# Two rows of chunks are read at once, so that the next level is written in whole chunks too.
_PIECE = (2 * TILE, 8 * TILE)


def write_ome_zarr(
    path: Path,
    name: str,
    source: Sliceable,
    axes: str,
    sizes: PixelSize,
    channel_names: Sequence[str],
    labels: bool,
    progress: Progress,
) -> None:
    """Write an image with its pyramid.

    Parameters
    ----------
    path : Path
        The folder to create.
    name : str
        Name of the image in the metadata.
    source : Sliceable
        Pixels with `axes`.
    axes : str
        Some of T, Z, C in this order, then ``YX``. The file has C before Z, as OME-Zarr requires.
    sizes, channel_names
        As in `Image`.
    labels : bool
        As in `stream_image`.
    progress : Progress
        Counts pixels of all levels.
    """
    order = [axes.index(axis) for axis in "TCZYX" if axis in axes]
    stored = "".join(axes[i] for i in order)
    shapes = level_shapes(*source.shape[-2:])
    group = zarr.create_group(str(path), zarr_format=2)
    levels = [
        _Reordered(
            group.create_array(
                str(number),
                shape=[source.shape[i] for i in order[:-2]] + [*shape],
                chunks=(1,) * (len(axes) - 2) + (min(TILE, shape[0]), min(TILE, shape[1])),
                dtype=source.dtype,
                compressors=numcodecs.Blosc("zstd", clevel=3, shuffle=numcodecs.Blosc.SHUFFLE),
                chunk_key_encoding={"name": "v2", "separator": "/"},
            ),
            order,
        )
        for number, shape in enumerate(shapes)
    ]
    # Copying the full resolution also writes level 1, reading level 1 writes level 2, and so on.
    finer: list[Sliceable] = [source, *levels[1:]]
    for pixels, coarser in zip(finer, [*levels[1:], None], strict=True):
        for block in blocks(pixels, coarser, *_PIECE, labels):
            if pixels is source:
                levels[0][block.region] = block.pixels
            progress.update(block.pixels.size)
    group.attrs.update(
        _attributes(name, stored, len(shapes), sizes, channel_names, labels, source.dtype)
    )


class _Reordered:
    """A Zarr array with its leading axes in another order; Y and X stay last."""

    def __init__(self, array: zarr.Array, order: Sequence[int]) -> None:
        self._array, self._order = array, order
        self.dtype = array.dtype
        self.shape = tuple(array.shape[order.index(i)] for i in range(len(order)))

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        return self._array[tuple(index[i] for i in self._order)]

    def __setitem__(self, index: tuple[Any, ...], pixels: Any) -> None:
        self._array[tuple(index[i] for i in self._order)] = pixels


def _attributes(
    name: str,
    axes: str,
    levels: int,
    sizes: PixelSize,
    channel_names: Sequence[str],
    labels: bool,
    dtype: np.dtype[Any],
) -> dict[str, Any]:
    described = [
        {"name": axis.lower(), "type": _AXES[axis]}
        | ({"unit": _UNITS[sizes[axis][1]]} if axis in sizes else {})
        for axis in axes
    ]
    datasets = []
    for number in range(levels):
        scale, shift = [], []
        for axis in axes:
            pixel = sizes.get(axis, (1.0, ""))[0]
            factor = 2**number if axis in "YX" else 1
            scale.append(pixel * factor)
            # The centre of a coarse pixel is the centre of the fine ones it stands for.
            shift.append(pixel * (factor - 1) / 2)
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if number:
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    multiscales = {
        "version": "0.4",
        "name": name,
        "axes": described,
        "datasets": datasets,
        "type": "nearest" if labels else "mean",
    }
    attributes: dict[str, Any] = {"multiscales": [multiscales]}
    if channel_names:
        top = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
        window = {"min": 0.0, "start": 0.0, "max": top, "end": top}
        channels = [
            {"label": name, "color": "FFFFFF", "active": True, "window": window}
            for name in channel_names
        ]
        attributes["omero"] = {"version": "0.4", "channels": channels}
    if labels:
        attributes["image-label"] = {"version": "0.4"}
    return attributes
