"""The units in which files give pixel sizes, and what the sizes tell."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .source import PixelSize, warn_once

# Not inches: they are for printers, and even ImageJ has them from the resolution of a picture.
_MICROMETRES = {
    "km": 1e9, "hm": 1e8, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "nm": 1e-3,
    "pm": 1e-6, "å": 1e-4,
}  # fmt: skip
_SECONDS = {
    "d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_SPELLINGS = {
    "micron": "µm", "um": "µm", "micrometer": "µm", "nanometer": "nm", "picometer": "pm",
    "millimeter": "mm", "centimeter": "cm", "decimeter": "dm", "meter": "m", "hectometer": "hm",
    "kilometer": "km", "angstrom": "å", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "sec": "s", "millisecond": "ms", "msec": "ms", "microsecond": "µs", "us": "µs",
    "nanosecond": "ns",
}  # fmt: skip
OTHER_SCALE = 1.5
"""Pixels larger or smaller by more than this factor get a warning."""
_UNCALIBRATED = ("pixel", "px", "frame", "reference frame")


def physical_size(value: object, unit: object) -> tuple[float, str] | None:
    """Convert a length to micrometres, a duration to seconds.

    Parameters
    ----------
    value : object
        A number or its text.
    unit : object
        Its unit in any usual spelling.

    Returns
    -------
    tuple of (float, str), or None
        The value and ``"µm"`` or ``"s"``; None unless it is a positive length or duration.

    Examples
    --------
    >>> physical_size("650", "nm"), physical_size(2, "minute"), physical_size(1, "pixel")
    ((0.65, 'µm'), (120.0, 's'), None)
    """
    try:
        number = float(str(value))
    except ValueError:
        return None
    # ImageJ escapes the micro sign; Unicode has two of them.
    name = str(unit).strip().replace("\\u00B5", "µ").replace("μ", "µ")
    name = name.lower().replace("metre", "meter")
    name = _SPELLINGS.get(name, _SPELLINGS.get(name.removesuffix("s"), name))
    known = {"µm": _MICROMETRES, "s": _SECONDS}
    for standard, factors in known.items():
        size = round(number * factors.get(name, math.nan), 12)
        if math.isfinite(size) and size > 0:
            return size, standard
    return None


def known_sizes(sizes: Mapping[str, tuple[object, object]]) -> dict[str, tuple[float, str]]:
    """Convert sizes with `physical_size`, keeping only durations for T and lengths for other axes.

    The time axis of a kymograph, which is called Y, therefore has no size. A size in an unknown
    unit is left out with a warning, unless it is 1 of no unit, which means nothing.
    """
    converted = {axis: physical_size(*size) for axis, size in sizes.items()}
    for axis, (value, unit) in sizes.items():
        is_stated = physical_size(value, "µm") and (unit or value != 1)
        counts = str(unit).strip().lower().removesuffix("s") in _UNCALIBRATED
        if is_stated and converted[axis] is None and not counts:
            kind = f"in the unit {unit}" if unit else "without a unit"
            warn_once(
                f"pixel sizes {kind} are left out: give them in µm or another metric unit, those "
                "along T in seconds."
            )
    return {
        axis: size
        for axis, size in converted.items()
        if size is not None and size[1] == ("s" if axis == "T" else "µm")
    }


def warn_of_other_scale(pixel_size: PixelSize, expected: float, model: str) -> None:
    """Log a warning if the pixels of an image are not about as large as a model expects.

    Parameters
    ----------
    pixel_size : mapping
        As `Image.pixel_size`; nothing is said unless it has Y or X.
    expected : float
        Pixel size of the images that the model was made for, in micrometres.
    model : str
        Its name, for the warning.
    """
    sizes = [pixel_size[axis][0] for axis in "YX" if axis in pixel_size]
    size = max(sizes, key=lambda size: max(size / expected, expected / size), default=expected)
    factor = max(size / expected, expected / size)
    if factor > OTHER_SCALE:
        compared = "larger" if size < expected else "smaller"
        warn_once(
            f"pixels of {size:.3g} µm: {model} was made for {expected:g} µm, so everything looks "
            f"{factor:.2g} times {compared} than it expects; resample such images first."
        )
