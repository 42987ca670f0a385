"""The interface that all image files have in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError, UnreachableError, brief

logger = logging.getLogger(__name__)

PixelSize = Mapping[str, tuple[float, str]]

# Axes whose meaning files do not state, and the letters tried for them in this order: Z first, as
# Fiji takes such pages for slices.
_NAMELESS = "IQ"
_SPARE_NAMES = "ZTPRV"
TIFF_SUFFIXES = (
    ".tif", ".tiff", ".btf", ".tf2", ".tf8", ".svs", ".ndpi", ".qptiff", ".lsm",
)  # fmt: skip
"""Suffixes of TIFF files of any kind; the content tells which kind. Not ``.bif``, whose tiles would
have to be stitched, ``.scn``, whose first image is an overview, nor ``.stk``, whose pixel size
would be lost."""


class Image(ABC):
    """An image file, opened but not read.

    Use it as a context manager, or call `close`. Reading is thread-safe.

    Attributes
    ----------
    path : Path
        The file or folder.
    axes : str
        Names of the axes, always in the order T, Z, C, Y, X and ending in ``YX``, for example
        ``"YX"``, ``"CYX"`` (also for RGB, whose samples are channels here) or ``"TZCYX"``.
        Other letters of the file (P for positions, ...) come first.
    shape : tuple of int
        The length of each axis.
    dtype : numpy.dtype
        Of the pixels, in native byte order.
    pixel_size : mapping of str to (float, str)
        Spacing along the axes, where the file states it: micrometres (``"µm"``) for Z, Y and X and
        seconds (``"s"``) for T, whatever units the file uses.
    channel_names : tuple of str
        One name per channel, or empty if the file does not name them all.
    stack_hint : str
        What to do if the channels are the planes of a stack, which some programs store as colours;
        empty where the file says that they are channels.
    """

    stack_hint = ""

    def __init__(
        self,
        path: Path,
        axes: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        pixel_size: PixelSize | None = None,
        channel_names: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.axes = axes
        self.shape = tuple(int(length) for length in shape)
        self.dtype = dtype.newbyteorder("=")
        self.pixel_size = {k: v for k, v in (pixel_size or {}).items() if k in axes}
        self.channel_names = tuple(channel_names) if len(channel_names) == self.channels else ()
        if 0 in self.shape:
            raise ImageError(f"{path} is empty ({self.describe()}): it has no pixels.")
        if dtype.kind not in "buif":
            raise ImageError(
                f"{path} holds {dtype} values: convert it to integers or floating-point numbers."
            )

    @property
    def channels(self) -> int:
        """The number of channels, 1 if there is no axis C."""
        return self.shape[self.axes.index("C")] if "C" in self.axes else 1

    @property
    def plane_axes(self) -> str:
        """The axes other than C, Y and X."""
        return "".join(axis for axis in self.axes if axis not in "CYX")

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """The lengths of `plane_axes`."""
        return tuple(self.shape[self.axes.index(axis)] for axis in self.plane_axes)

    @property
    def result_shape(self) -> tuple[int, ...]:
        """The shape of a result: the lengths of `plane_axes`, height and width."""
        return (*self.plane_shape, *self.shape[-2:])

    @property
    def planes(self) -> list[tuple[int, ...]]:
        """Index of each plane over `plane_axes`, the last axis fastest; ``[()]`` without any."""
        return list(product(*map(range, self.plane_shape)))

    def plane_name(self, plane: Sequence[int]) -> str:
        """The path and, if there are plane axes, the position of the plane, for messages."""
        places = [f"{axis} {at}" for axis, at in zip(self.plane_axes, plane, strict=True)]
        return f"{self.path} ({', '.join(places)})" if places else str(self.path)

    def read(
        self,
        plane: Sequence[int] = (),
        rows: slice = slice(None),
        columns: slice = slice(None),
        channels: Sequence[int] | None = None,
    ) -> NDArray[Any]:
        """Read a region of one plane, decoding only the tiles or strips under it.

        Parameters
        ----------
        plane : sequence of int
            One of `planes`.
        rows, columns : slice
            Bounds in pixels as in ``array[rows, columns]``, without a step.
        channels : sequence of int, optional
            The channels to read, in this order; all by default.

        Returns
        -------
        ndarray of (C, height, width)
            Of `dtype`; C is 1 for an image without channels.

        Raises
        ------
        InputError
            If the file turns out to be truncated or damaged there.
        IndexError
            If the plane or a channel does not exist.
        ValueError
            If a slice has a step.
        """
        wanted = range(self.channels) if channels is None else channels
        height, width = self.shape[-2:]
        rows, columns = _bounds(rows, height), _bounds(columns, width)
        if len(plane) != len(self.plane_shape) or not all(
            0 <= index < length for index, length in zip(plane, self.plane_shape, strict=True)
        ):
            raise IndexError(f"plane {tuple(plane)} is not in {self.plane_axes}{self.plane_shape}")
        shape = len(wanted), rows.stop - rows.start, columns.stop - columns.start
        region = empty(self.path, shape, self.dtype)
        if region.size:
            for k, channel in enumerate(wanted):
                if not 0 <= channel < self.channels:
                    raise IndexError(f"channel {channel} is not in 0...{self.channels - 1}")
                with as_image_error(self.path):
                    region[k] = self._read(tuple(plane), channel, rows, columns)
        return region

    def read_single(self) -> NDArray[Any]:
        """Read an image of one plane, shape (C, height, width).

        Raises
        ------
        InputError
            If there are several planes, since pages are not channels; or as in `read`.
        """
        if len(self.planes) > 1:
            raise ImageError(
                f"{self.path} is a stack of {len(self.planes)} planes ({self.describe()}): "
                "give one file for each frame."
            )
        return self.read(self.planes[0])

    @abstractmethod
    def _read(
        self, plane: tuple[int, ...], channel: int, rows: slice, columns: slice
    ) -> NDArray[Any]:
        """Read (height, width) pixels; all arguments are within bounds, the region not empty."""

    def describe(self) -> str:
        """Axes and lengths in words, such as ``T 3, C 2, Y 512, X 512``."""
        return ", ".join(f"{axis} {n}" for axis, n in zip(self.axes, self.shape, strict=True))

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {self.describe()} {self.dtype}>"


@contextmanager
def as_image_error(path: Path) -> Iterator[None]:
    """Turn any error of a library or the system while reading a file into an `ImageError`."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise UnreachableError(
            f"{path} needs more memory than is available: copy it again, as its header may be "
            "damaged, or save it in tiles."
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # those of libraries have none
            raise unreachable(path, error) from error
        raise damaged(path, error) from error


def empty(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make room for pixels of a file, whose header may declare more than fit in memory."""
    with as_image_error(path):
        return np.empty(shape, dtype)


@cache
def warn_once(message: str) -> None:
    """Log a warning only once: a file is opened first to check it and again to read it."""
    logger.warning(message)


def damaged(path: Path, error: Exception) -> ImageError:
    """Make the error for a file that a library cannot read, with the reason."""
    why = brief(error, 200) or type(error).__name__
    return ImageError(f"{path} cannot be read ({why}): copy or export it again.")


def unreachable(path: Path, error: OSError) -> UnreachableError:
    """Make the error for a file, or one that belongs to it, that the system cannot read."""
    path = error.filename or path
    if isinstance(error, FileNotFoundError):
        return UnreachableError(f"{path} no longer exists: copy it again, or leave it out.")
    return UnreachableError(
        f"{path} cannot be read ({error.strerror}): make it readable, or leave it out."
    )


def _bounds(region: slice, length: int) -> slice:
    start, stop, step = region.indices(length)
    if step != 1:
        raise ValueError(f"regions have no step, got {region}")
    return slice(start, max(start, stop))


def canonical_axes(axes: Sequence[str]) -> list[str]:
    """Give axes without a meaning a letter that is not taken.

    Parameters
    ----------
    axes : sequence of str
        The axes of a file other than channels, Y and X; I and Q mean unknown.

    Returns
    -------
    list of str
        The same with new letters for I, Q and repeated axes. The last of them gets the first free
        letter, preferably Z, as Fiji takes pages without a meaning for slices.

    Examples
    --------
    >>> canonical_axes("Q"), canonical_axes("QQ"), canonical_axes("TI")
    (['Z'], ['T', 'Z'], ['T', 'Z'])
    """
    named = list(axes)
    for i in range(len(named) - 1, -1, -1):
        if named[i] in _NAMELESS or named[i] in named[:i]:
            named[i] = next(name for name in _SPARE_NAMES if name not in named)
    return named


def plane_order(axes: Sequence[str]) -> list[int]:
    """Positions that sort plane axes: unusual ones in the given order, then T, then Z."""
    return sorted(range(len(axes)), key=lambda i: "TZ".find(axes[i]))
