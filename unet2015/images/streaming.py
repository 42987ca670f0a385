"""Write results of any size tile by tile, with pyramid levels."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from ..atomic import empty_locked, lock, named_errors, remove_locked, rename, sync
from ..errors import InputError
from ..progress import Progress
from .metadata import tiff_description
from .opening import stem
from .pyramid import TILE, Block, Sliceable, blocks, level_shapes, pixels_of_levels, tiles
from .source import Image, PixelSize
from .units import known_sizes
from .writing import SOFTWARE, check_axes, check_output, tiff_resolution, write_image

if TYPE_CHECKING:
    import zarr

logger = logging.getLogger(__name__)

STREAMED_FROM = 2**24
"""Pixels from which a TIFF result is tiled, with pyramid levels; smaller ones suit ImageJ."""
PIECE = (TILE, 8 * TILE)
"""Rows and columns read at once: eight tiles (8 MiB of float32). A source that computes its pixels
on access is fastest in blocks of this size."""
# Bytes that tifffile collects before it compresses them; its default is 512 MiB.
_BUFFER_BYTES = 1 << 24
# Of Deflate: twice as fast as the usual 6, at most 2 % larger, on probabilities and on labels.
_LEVEL = 1


def stream_image(
    path: Path | str,
    source: Sliceable,
    axes: str,
    pixel_size: PixelSize | None = None,
    labels: bool = False,
) -> None:
    """Write an image of any size in bounded memory.

    A name ending in ``.tif`` or ``.tiff`` gives a BigTIFF of Deflate-compressed tiles of at most
    512 x 512 pixels, compressed in parallel, with pyramid levels as SubIFDs and OME metadata, which
    Fiji, QuPath and napari read. One ending in ``.zarr`` gives an OME-Zarr of version 0.4 (Zarr 2),
    which more programs read than 0.5. Equal images give equal bytes.

    The output is prepared in a hidden folder beside it, ``.NAME.partial``, which also holds the
    pyramid levels of a TIFF until they are written; it gets its name once it is complete and on
    disk. The folder is locked to one process; leftovers of a killed run are removed first.

    Parameters
    ----------
    path : Path or str
        The file or Zarr folder; an existing one is replaced. The folder that holds it is created
        if needed.
    source : Sliceable
        Pixels, read once in pieces of 512 x 4096 (1024 x 4096 for Zarr): chunks of 512 x 512 suit.
    axes : str
        Some of T and Z in this order, then ``YX``; one letter per dimension of `source`.
    pixel_size
        As in `Image`; may be empty.
    labels : bool
        Whether pixels are labels or classes, of which pyramid levels pick values, rather than
        quantities, of which they hold means.

    Raises
    ------
    InputError
        If the folder cannot be written to, the format cannot hold such pixels, or another process
        is writing this output.
    OSError
        With the path as its ``filename``, if the disk is full.
    """
    path = check_output(path)
    check_axes(axes, source.shape)
    sizes = {k: v for k, v in known_sizes(pixel_size or {}).items() if k in axes}
    suffix = path.suffix.lower()
    if suffix not in (".tif", ".tiff", ".zarr"):
        raise InputError(f"{path}: large results are written as .tif or .zarr.")
    work = path.with_name(f".{path.name}.partial")
    finished = work / f"result{path.suffix}"
    progress = Progress(
        total=pixels_of_levels(source.shape),
        unit="px",
        unit_scale=True,
        desc=f"writing {path.name}",
        delay=1,
        leave=False,
    )
    with named_errors(path, work), _own(work, path) as replaced, progress:
        if suffix == ".zarr":
            from .omezarr_writing import write_ome_zarr  # importing zarr takes half a second

            write_ome_zarr(finished, stem(path), source, axes, sizes, labels, progress)
        else:
            _write_tiff(finished, source, axes, sizes, labels, progress)
        for part in (*finished.rglob("*"), finished):
            sync(part)
        if finished.is_dir() and os.path.lexists(path):
            rename(path, replaced)
        rename(finished, path)


def write_regions(path: Path, source: Sliceable, image: Image, labels: bool) -> None:
    """Write the planes of an image's result; with `stream_image` if it is large or a Zarr."""
    axes = image.plane_axes + "YX"
    if prod(source.shape) >= STREAMED_FROM or path.suffix.lower() == ".zarr":
        stream_image(path, source, axes, image.pixel_size, labels=labels)
        return
    *_, height, width = source.shape
    whole = np.empty(source.shape, source.dtype)
    for plane in image.planes:
        whole[plane] = source[*plane, 0:height, 0:width]
    write_image(path, whole, axes, image.pixel_size)


@contextmanager
def _own(work: Path, path: Path) -> Iterator[Path]:
    """Lock and empty a folder for unfinished work, and remove it at the end.

    Yields the path in it to which a Zarr is moved before it is replaced; it is moved back if the
    new one does not take its place.
    """
    lock_file, replaced = lock(work / "lock"), work / "replaced"
    try:
        _put_back(replaced, path)  # a run may have been killed between the two moves
        empty_locked(work, lock_file)
        yield replaced
    except BaseException:
        # Zarr writes chunks in parallel: after one failed, others still make folders for a moment.
        time.sleep(0.2)
        raise
    finally:
        try:
            _put_back(replaced, path)
            remove_locked(work, lock_file)
        except OSError as error:
            logger.warning("%s could not be removed (%s).", work, error)
        lock_file.close()


def _put_back(replaced: Path, path: Path) -> None:
    if os.path.lexists(replaced) and not os.path.lexists(path):
        rename(replaced, path)


def _write_tiff(
    path: Path,
    source: Sliceable,
    axes: str,
    sizes: PixelSize,
    labels: bool,
    progress: Progress,
) -> None:
    shapes = level_shapes(*source.shape[-2:])
    planes = prod(source.shape[:-2])
    level = source
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as tiff:
        for number, shape in enumerate(shapes):
            coarser = None
            if number + 1 < len(shapes):
                coarser = _scratch(
                    path.with_name(f"level{number + 1}"),
                    (*source.shape[:-2], *shapes[number + 1]),
                    source.dtype,
                )
            size = {k: (v * 2**number, unit) for k, (v, unit) in sizes.items()}
            described = (*source.shape[:-2], *shape)
            description = tiff_description(axes, described, source.dtype, sizes)
            tiff.write(
                tiles(_counted(blocks(level, coarser, *PIECE, labels), progress)),
                shape=(planes, *shape),
                dtype=source.dtype,
                tile=[min(TILE, -(-n // 16) * 16) for n in shape],
                photometric="minisblack",
                compression="zlib",
                compressionargs={"level": _LEVEL},
                maxworkers=_workers(),
                buffersize=_BUFFER_BYTES,
                metadata=None,
                software=SOFTWARE,
                subfiletype=1 if number else 0,
                **tiff_resolution(size),
                subifds=0 if number else len(shapes) - 1,
                # An OME description covers the whole image, one of tifffile only its own level.
                description=description if number == 0 or description[:1] == b"{" else None,
            )
            shutil.rmtree(path.with_name(f"level{number}"), ignore_errors=True)
            if coarser is not None:
                level = coarser


def _scratch(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> zarr.Array:
    import zarr

    # Half a tile high, so that one row of tiles, halved, fills whole chunks.
    chunks = (1,) * (len(shape) - 2) + (TILE // 2, TILE)
    return zarr.create_array(path, shape=tuple(shape), chunks=chunks, dtype=dtype)


def _counted(pieces: Iterator[Block], progress: Progress) -> Iterator[Block]:
    for piece in pieces:
        yield piece
        progress.update(piece.pixels.size)


def _workers() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1
