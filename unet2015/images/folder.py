"""A folder of frames as one image with a time axis."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from ..errors import ImageError
from .source import Image

_OPEN_FRAMES = 4


class FolderImage(Image):
    """Frames of equal shape in separate files, such as a Cell Tracking Challenge sequence.

    Parameters
    ----------
    path : Path
        The folder.
    frames : sequence of Path
        Its image files in order.
    open_frame : callable
        Opens one of them.

    Raises
    ------
    InputError
        If there are no frames, or a frame cannot be opened, differs from the first in axes, shape
        or dtype, or has a time axis of its own.
    """

    def __init__(
        self, path: Path, frames: Sequence[Path], open_frame: Callable[[Path], Image]
    ) -> None:
        self._lock = Lock()
        self._opened: OrderedDict[int, Image] = OrderedDict()
        self._open_frame = open_frame
        if not frames:
            raise ImageError(
                f"{path} is a folder without TIFF or PNG files: give a folder of frames."
            )
        with open_frame(frames[0]) as first:
            if "T" in first.axes:
                raise ImageError(
                    f"{frames[0]} has a time axis of its own ({first.describe()}): "
                    "give the files of the folder one by one."
                )
            before = "".join(axis for axis in first.plane_axes if axis not in "TZ")
            axes = before + "T" + first.axes[len(before) :]
            shape = [*first.shape]
            shape.insert(len(before), len(frames))
            super().__init__(path, axes, shape, first.dtype, first.pixel_size, first.channel_names)
            self.frames, self._time_axis, self._first = frames, len(before), first
            for frame in frames[1:]:
                with open_frame(frame) as other:
                    _check_equal(first, other)

    def _read(
        self, plane: tuple[int, ...], channel: int, rows: slice, columns: slice
    ) -> NDArray[Any]:
        time = plane[self._time_axis]
        rest = plane[: self._time_axis] + plane[self._time_axis + 1 :]
        with self._lock:
            frame = self._opened.pop(time, None)
            if frame is None:
                frame = self._open_frame(self.frames[time])
                _check_equal(self._first, frame)  # it may have changed since
            self._opened[time] = frame
            if len(self._opened) > _OPEN_FRAMES:
                self._opened.popitem(last=False)[1].close()
            return frame.read(rest, rows, columns, [channel])[0]

    def close(self) -> None:
        """Close the open frames."""
        with self._lock:
            while self._opened:
                self._opened.popitem()[1].close()


def _check_equal(first: Image, other: Image) -> None:
    if (first.axes, first.shape, first.dtype) != (other.axes, other.shape, other.dtype):
        raise ImageError(
            f"{other.path} ({other.describe()}, {other.dtype}) differs from {first.path} "
            f"({first.describe()}, {first.dtype}): make the frames of a folder alike, "
            "or give the files one by one."
        )
