"""Read regions of TIFF files of all kinds without reading the whole."""

from __future__ import annotations

import logging
import os
from functools import partial
from math import prod
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..blockcache import BlockCache, assemble, blocks_in
from ..errors import ImageError
from .ifd import check_directories
from .metadata import read_tiff_metadata
from .source import Image, as_image_error, canonical_axes, plane_order, warn_once
from .tiffchecks import main_series, mixed, squeezed, truncated

# tifffile logs defects and continues with zeros or fewer pages. Here such files are refused with a
# message instead.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

_OPEN_FILES = 8


class TiffImage(Image):
    """The first image of a TIFF, BigTIFF, OME-TIFF or ImageJ file at full resolution.

    Parameters
    ----------
    path : Path
        An existing file.

    Raises
    ------
    InputError
        If the file is truncated, damaged or of a kind that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._lock = RLock()
        self._cache = BlockCache()
        self._files: dict[str, BinaryIO] = {}
        self._pages: dict[int, Any] = {}
        check_directories(path)
        self._tiff = tifffile.TiffFile(path)
        try:
            self._open(path)
        except Exception:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        series = main_series(path, self._tiff)
        keyframe = series.keyframe
        self._series, self._keyframe = series, keyframe

        inner = keyframe.axes
        series_axes, series_shape = squeezed(series)
        outer, outer_shape = series_axes[: -len(inner)], series_shape[: -len(inner)]
        samples = prod(n for axis, n in zip(inner, keyframe.shape, strict=True) if axis not in "YX")
        # Positions among the axes that number the pages; samples within a page come after.
        channel_axes = [i for i, axis in enumerate(outer) if axis in "CS"]
        others = [i for i in range(len(outer)) if i not in channel_axes]
        names = canonical_axes([outer[i] for i in others])
        order = plane_order(names)
        plane_axes = [others[i] for i in order]
        pages = np.arange(prod(outer_shape)).reshape(outer_shape)
        pages = pages.transpose(plane_axes + channel_axes)
        plane_shape = pages.shape[: len(plane_axes)]
        self._numbers, self._samples = pages.reshape(*plane_shape, -1), samples

        channels = self._numbers.shape[-1] * samples
        has_channels = bool(channel_axes) or samples > 1
        axes = "".join(names[i] for i in order) + "C" * has_channels + "YX"
        shape = [*plane_shape, *[channels] * has_channels]
        shape += [keyframe.imagelength, keyframe.imagewidth]
        pixel_size, channel_names = read_tiff_metadata(self._tiff, keyframe)
        super().__init__(path, axes, shape, np.dtype(series.dtype), pixel_size, channel_names)
        if samples > 1 and keyframe.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            # tifffile, too, writes stacks of 3 or 4 planes like that.
            self.stack_hint = (
                ", or, if these are planes of a stack, save it as an OME-TIFF or ImageJ stack"
            )
        self._check_length()

    def _check_length(self) -> None:
        """Refuse at once, not after hours, a file that ends before its first or last page does."""
        for number in {0, self._numbers.size - 1}:
            offset = self._contiguous(number)
            page = self._page(number)
            if offset is not None:
                ends = [offset + self._page_bytes]
            else:
                ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
            where = self._file_of(page)
            if max(ends, default=0) > os.path.getsize(where):
                raise truncated(Path(where))

    @property
    def _page_bytes(self) -> int:
        return int(prod(self._keyframe.shaped)) * self.dtype.itemsize

    def _page(self, number: int) -> Any:
        """Return a page; None if the pixels of all pages are contiguous."""
        if self._series.dataoffset:
            return None
        with self._lock:
            if number not in self._pages:
                self._pages[number] = self._as_stored(self._series[number])
            return self._pages[number]

    def _as_stored(self, page: Any) -> Any:
        """Return a page with its own compression and strips.

        tifffile saves time by assuming those of the first page, but some programs mix them.
        """
        if not page.is_frame or page.is_virtual:
            return page
        file = page.parent.filehandle
        was_closed = file.closed
        file.open()
        own = page.aspage()
        if was_closed:  # one of many files of an image
            file.close()
        if (own.shaped, own.dtype) != (self._keyframe.shaped, self._keyframe.dtype):
            raise mixed(self.path)
        return page if own.hash == page.hash else own

    def _file_of(self, page: Any) -> str:
        return str(self.path if page is None else page.parent.filehandle.path)

    def _contiguous(self, number: int) -> int | None:
        """Offset in bytes of a page's pixels if they are uncompressed and contiguous, else None."""
        if self._series.dataoffset:
            return int(self._series.dataoffset) + number * self._page_bytes
        page = self._page(number)
        if not page.is_final or not page.dataoffsets[0]:  # 0: never written, as in sparse files
            return None
        # tifffile judges all pages by one of them; strips of another may still be scattered.
        first, last = page.dataoffsets[0], page.dataoffsets[-1]
        alike = page.keyframe.dataoffsets
        return int(first) if last - first == alike[-1] - alike[0] else None

    def _read(
        self, plane: tuple[int, ...], channel: int, rows: slice, columns: slice
    ) -> NDArray[Any]:
        outer_channel, sample = divmod(channel, self._samples)
        number = int(self._numbers[*plane, outer_channel])
        offset = self._contiguous(number)
        if offset is not None:
            return self._read_contiguous(number, offset, sample, rows, columns)
        page = self._page(number)
        keyframe = page.keyframe
        block_shape = (
            (keyframe.tilelength, keyframe.tilewidth)
            if keyframe.is_tiled
            else (min(keyframe.rowsperstrip, keyframe.imagelength), keyframe.imagewidth)
        )
        # Samples of a pixel are either interleaved in a block or in separate planes of blocks.
        apart = keyframe.shaped[0] > 1
        down = -(-keyframe.imagelength // block_shape[0])
        across = -(-keyframe.imagewidth // block_shape[1])
        narrow = columns.stop - columns.start < keyframe.imagewidth
        tall = rows.stop - rows.start < block_shape[0]
        # Regions beside this one, below it and other channels are read next, from the same blocks.
        read_again = tall if keyframe.is_tiled else narrow or self.channels > 1
        if read_again:
            row_bytes = across * prod(block_shape) * self.channels * self.dtype.itemsize
            self._cache.reserve(row_bytes * blocks_in(rows, block_shape[0]))

        def block(i: int, j: int) -> NDArray[Any]:
            segment = ((sample if apart else 0) * down + i) * across + j
            decode = partial(self._decode, page, segment)
            return self._cache.get((number, segment), decode)[..., 0 if apart else sample]

        return assemble(rows, columns, block_shape, block, self.dtype)

    def _read_contiguous(
        self, number: int, offset: int, sample: int, rows: slice, columns: slice
    ) -> NDArray[Any]:
        """Read uncompressed pixels: only the rows of the region, and little beyond its columns.

        The file is not memory-mapped: if it shrinks meanwhile, reading raises an error where a
        mapping kills the process, and mapped pages would count as memory of the process.
        """
        planes, _, height, width, together = self._keyframe.shaped
        page = self._page(number)
        where = self._file_of(page)
        file = self._tiff if page is None else page.parent
        stored = self.dtype.newbyteorder(file.byteorder)
        pixel = together * stored.itemsize
        if planes > 1:
            offset += sample * height * width * pixel
            sample = 0
        count = columns.stop - columns.start
        if 2 * count >= width:
            data = self._bytes(
                where,
                offset + rows.start * width * pixel,
                (rows.stop - rows.start) * width * pixel,
            )
            band = np.frombuffer(data, stored).reshape(-1, width, together)
            return band[:, columns, sample]
        data = b"".join(
            self._bytes(where, offset + (row * width + columns.start) * pixel, count * pixel)
            for row in range(rows.start, rows.stop)
        )
        return np.frombuffer(data, stored).reshape(-1, count, together)[..., sample]

    def _decode(self, page: Any, segment: int) -> NDArray[Any]:
        """Decode one tile or strip to (height, width, samples)."""
        keyframe = page.keyframe
        where = self._file_of(page)
        if segment >= min(len(page.dataoffsets), len(page.databytecounts)):
            raise truncated(Path(where))
        offset, count = page.dataoffsets[segment], page.databytecounts[segment]
        if offset and not count:
            if not self._tiff.is_svs:
                raise ImageError(
                    f"{where} has a strip or tile without bytes: it is damaged, so copy or export "
                    "it again."
                )
            warn_once(f"{where} has tiles without bytes, as Aperio's encoder leaves: they are 0.")
        data = self._bytes(where, offset, count) if count else None
        tables = {}
        if keyframe.compression in (6, 7, 34892, 33007):  # the JPEG family
            tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        with as_image_error(Path(where)):
            pixels, _, shape = keyframe.decode(data, segment, **tables)
        if pixels is None:
            # A tile that was never written, as in sparse files.
            return np.full(shape[1:], keyframe.nodata, self.dtype)
        return np.asarray(pixels[0])

    def _bytes(self, where: str, offset: int, count: int) -> bytes:
        with self._lock:
            file = self._files.get(where)
            if file is None:
                if len(self._files) >= _OPEN_FILES:
                    self._files.pop(next(iter(self._files))).close()
                # Unbuffered, since a region is read in pieces that are far apart.
                file = self._files[where] = open(where, "rb", buffering=0)  # noqa: SIM115
            file.seek(offset)
            data = file.read(count)
            while len(data) < count and (more := file.read(count - len(data))):
                data += more
        if len(data) < count:
            raise truncated(Path(where))
        return data

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._tiff.close()
            while self._files:
                self._files.popitem()[1].close()
