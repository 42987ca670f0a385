"""Write OME-Zarr 0.4 chunk by chunk.

Version 0.4 (Zarr 2) rather than 0.5 (Zarr 3), since every program that reads 0.5 also reads 0.4,
and Bio-Formats, and hence Fiji and QuPath, has read 0.4 for years.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import zarr

from ..progress import Progress
from .pyramid import TILE, Sliceable, blocks, level_shapes
from .source import PixelSize

_AXES = {"T": "time", "Z": "space", "Y": "space", "X": "space"}
_UNITS = {"µm": "micrometer", "s": "second"}
# Two rows of chunks are read at once, so that the next level is written in whole chunks too.
_PIECE = (2 * TILE, 8 * TILE)


def write_ome_zarr(
    path: Path,
    name: str,
    source: Sliceable,
    axes: str,
    sizes: PixelSize,
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
        Some of T and Z in this order, then ``YX``.
    sizes
        As `Image.pixel_size`.
    labels : bool
        As in `stream_image`.
    progress : Progress
        Counts pixels of all levels.
    """
    shapes = level_shapes(*source.shape[-2:])
    group = zarr.create_group(path, zarr_format=2)
    levels = [
        group.create_array(
            str(number),
            shape=(*source.shape[:-2], *shape),
            chunks=(1,) * (len(axes) - 2) + (min(TILE, shape[0]), min(TILE, shape[1])),
            dtype=source.dtype,
            compressors=numcodecs.Blosc("zstd", clevel=3, shuffle=numcodecs.Blosc.SHUFFLE),
            chunk_key_encoding={"name": "v2", "separator": "/"},
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
    group.attrs.update(_attributes(name, axes, len(shapes), sizes, labels))


def _attributes(
    name: str, axes: str, levels: int, sizes: PixelSize, labels: bool
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
    if labels:
        attributes["image-label"] = {"version": "0.4"}
    return attributes
