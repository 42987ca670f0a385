"""Read Zarr arrays, versions 2 and 3, and OME-Zarr images, versions 0.1 to 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..blockcache import BlockCache, assemble, blocks_in
from ..errors import ImageError
from .source import Image, PixelSize, as_image_error, canonical_axes, plane_order, warn_once
from .units import known_sizes

# Pixels; smaller chunks are read several at once, since each read has a fixed cost.
_BLOCK = 512
_WORDS = {"TIME": "T", "CHANNEL": "C"}


def open_zarr(path: Path) -> Image:
    """Open a Zarr folder: an array, an OME-Zarr image (at full resolution), or a group with one.

    Parameters
    ----------
    path : Path
        A folder that holds ``zarr.json``, ``.zarray`` or ``.zgroup``.

    Returns
    -------
    Image
        Unnamed axes of an array are taken to be the last of T, C, Z, Y, X (the order of OME-Zarr),
        or of T, Z, Y, X, C if there are three or more and the last has length 3 or 4.

    Raises
    ------
    InputError
        If it is damaged or empty, or holds several images.
    """
    with as_image_error(path):
        node = zarr.open(path, mode="r")
        attributes = _ome_attributes(node)
        if isinstance(node, zarr.Array):
            return ZarrImage(path, node, _array_axes(node))
        try:
            if "bioformats2raw.layout" in attributes and "multiscales" not in attributes:
                node = node[_first_series(path, node)]
                attributes = _ome_attributes(node)
            if "multiscales" in attributes:
                return _open_multiscales(path, node, attributes)
        except (LookupError, TypeError, AttributeError) as error:
            raise ImageError(
                f"{path} has OME-Zarr metadata that is incomplete or does not fit its arrays: copy "
                "or export it again."
            ) from error
        members = sorted(name for name, _ in node.members())
    if len(members) == 1:
        image = open_zarr(path / members[0])
        image.path = path  # so that whoever knows the image only can fingerprint and open it again
        return image
    if not members:
        raise ImageError(f"{path} is an empty Zarr group: give the path of an image.")
    raise ImageError(
        f"{path} is a Zarr group with {len(members)} members and no image of its own: give the "
        f"path of one of them: {', '.join(members[:5])}."
    )


class ZarrImage(Image):
    """An array of a Zarr store.

    Parameters
    ----------
    path : Path
        The folder, for messages and names.
    array : zarr.Array
        The pixels.
    axes : sequence of str
        One letter per dimension, in any order; I and Q mean unknown. Axes of length 1 other than Y
        and X are dropped, as for a TIFF.
    pixel_size, channel_names
        As in `Image`.
    """

    def __init__(
        self,
        path: Path,
        array: Any,
        axes: Sequence[str],
        pixel_size: PixelSize | None = None,
        channel_names: Sequence[str] = (),
    ) -> None:
        counts = [axes.count(axis) for axis in "YXC"]
        if counts[:2] != [1, 1] or counts[2] > 1 or len(axes) != array.ndim:
            raise ImageError(
                f"{path} has dimensions {tuple(axes)} of lengths {array.shape}: "
                "an image has Y, X and at most one C."
            )
        self._array = array
        self._cache = BlockCache()
        has_channels = "C" in axes and array.shape[axes.index("C")] > 1
        self._channel_axis = axes.index("C") if has_channels else None
        self._rows_axis, self._columns_axis = axes.index("Y"), axes.index("X")
        others = [i for i, axis in enumerate(axes) if axis not in "CYX" and array.shape[i] > 1]
        names = canonical_axes([axes[i] for i in others])
        order = plane_order(names)
        self._plane_axes = [others[i] for i in order]
        presented = [*self._plane_axes, self._channel_axis, self._rows_axis, self._columns_axis]
        self._box = [
            min(length, chunk * max(1, _BLOCK // chunk) if axis in "YX" else chunk)
            for axis, chunk, length in zip(axes, array.chunks, array.shape, strict=True)
        ]
        super().__init__(
            path,
            "".join(names[i] for i in order) + "C" * has_channels + "YX",
            [array.shape[i] for i in presented if i is not None],
            np.dtype(array.dtype),
            pixel_size,
            channel_names,
        )

    def _read(
        self, plane: tuple[int, ...], channel: int, rows: slice, columns: slice
    ) -> NDArray[Any]:
        index = [0] * self._array.ndim
        for axis, i in zip(self._plane_axes, plane, strict=True):
            index[axis] = i
        if self._channel_axis is not None:
            index[self._channel_axis] = channel
        within = [i % size for i, size in zip(index, self._box, strict=True)]
        number = [i // size for i, size in zip(index, self._box, strict=True)]

        def block(i: int, j: int) -> NDArray[Any]:
            here = list(number)
            here[self._rows_axis], here[self._columns_axis] = i, j
            pixels = self._cache.get(tuple(here), partial(self._load, here))
            picked: list[int | slice] = list(within)
            picked[self._rows_axis] = picked[self._columns_axis] = slice(None)
            region = pixels[tuple(picked)]
            return region if self._rows_axis < self._columns_axis else region.T

        box = self._box[self._rows_axis], self._box[self._columns_axis]
        self._reserve(rows)
        return assemble(rows, columns, box, block, self.dtype)

    def _reserve(self, rows: slice) -> None:
        """Keep the boxes that are read again: for the next plane, or for the regions below."""
        height, width = self.shape[-2:]
        deep = any(self._box[axis] > 1 for axis in self._plane_axes)
        if not deep and rows.stop - rows.start >= self._box[self._rows_axis]:
            return
        kept = slice(0, height) if deep else rows
        boxes = blocks_in(kept, self._box[self._rows_axis])
        boxes *= blocks_in(slice(0, width), self._box[self._columns_axis])
        if self._channel_axis is not None:
            boxes *= blocks_in(slice(0, self.channels), self._box[self._channel_axis])
        self._cache.reserve(boxes * prod(self._box) * self.dtype.itemsize)

    def _load(self, number: Sequence[int]) -> NDArray[Any]:
        box = tuple(
            slice(i * size, min((i + 1) * size, length))
            for i, size, length in zip(number, self._box, self._array.shape, strict=True)
        )
        return np.asarray(self._array[box], self.dtype)

    def close(self) -> None:
        """Do nothing: Zarr keeps no file open."""


def _ome_attributes(node: Any) -> dict[str, Any]:
    attributes = dict(node.attrs)
    # Version 0.5 keeps everything under "ome"; earlier versions did not.
    return dict(attributes.get("ome", attributes))


def _first_series(path: Path, group: Any) -> str:
    """Name the first of the images that bioformats2raw wrote: 0 unless they are listed."""
    listed = _ome_attributes(group["OME"]).get("series") if "OME" in group else None
    names = listed or [name for name in ("0", "1") if name in group]
    if len(names) > 1:
        warn_once(f"{path} holds several images, of which only the first, {names[0]}, is used.")
    return str(names[0])


def _array_axes(array: Any) -> list[str]:
    named = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if named:
        axes = [_letter(name) for name in named]
        if "Y" in axes and "X" in axes:
            return axes
    if array.ndim > 2 and array.shape[-1] in (3, 4):
        return [*"TZYX"[-(array.ndim - 1) :], "C"]
    return list("TCZYX"[-array.ndim :])


def _letter(name: object) -> str:
    word = str(name).upper()
    return word if len(word) == 1 else _WORDS.get(word, "Q")


def _open_multiscales(path: Path, group: Any, attributes: Mapping[str, Any]) -> Image:
    if len(attributes["multiscales"]) > 1:
        warn_once(f"{path} holds several images, of which only the first is used.")
    multiscales = attributes["multiscales"][0]
    level = multiscales["datasets"][0]
    array = group[level["path"]]
    axes: list[str] = []
    units: list[str] = []
    # Before 0.4 the axes were plain strings, before 0.3 always t, c, z, y, x.
    for axis in multiscales.get("axes", list("tczyx")[-array.ndim :]):
        axes.append(_letter(axis["name"] if isinstance(axis, dict) else axis))
        units.append(axis.get("unit", "") if isinstance(axis, dict) else "")
    steps = level.get("coordinateTransformations", [])
    steps = [*steps, *multiscales.get("coordinateTransformations", [])]
    scales = [step["scale"] for step in steps if step["type"] == "scale"]
    if any(any(step.get("translation", ())) for step in steps):
        warn_once(f"{path} has an offset (translation): results are written without it.")
    sizes = {
        axis: (prod(scale[i] for scale in scales), unit)
        for i, (axis, unit) in enumerate(zip(axes, units, strict=True))
        if scales and axis != "C"
    }
    channels = (attributes.get("omero") or {}).get("channels", [])
    names = [str(channel.get("label", "")) for channel in channels]
    return ZarrImage(path, array, axes, known_sizes(sizes), names if all(names) else ())
