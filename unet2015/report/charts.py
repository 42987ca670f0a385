"""Curves and histograms as inline SVG, coloured by the page's style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .html import Html, element, join

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 12, 50
BINS = 20


def curve(
    points: Sequence[tuple[float, float]],
    labels: tuple[str, str],
    *,
    highest: float | None = None,
    kind: str,
) -> Html:
    """Draw a curve, with both axes starting at 0.

    Parameters
    ----------
    points : sequence of (x, y)
        At least one, not negative, x ascending.
    labels : (str, str)
        Labels of the axes.
    highest : float, optional
        End of the y axis; by default a round number at or above the highest point.
    kind : str
        CSS class of the curve.
    """
    xs, ys = zip(*points, strict=True)
    right = max(xs[-1], 1e-9)
    x_ticks = [tick for tick in _ticks(right) if tick <= right]
    y_ticks = _ticks(max(ys) if highest is None else highest)
    top = y_ticks[-1]
    placed = [(_x(x / right), _y(y / top)) for x, y in points]
    line = element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in placed))
    # Mark the measurements if there are few.
    dots = join(*(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.5) for x, y in placed))
    drawn = element("g", line, dots if len(points) <= 60 else None, class_=f"curve {kind}")
    x_axis = [(tick / right, f"{tick:g}") for tick in x_ticks]
    y_axis = [(tick / top, f"{tick:g}") for tick in y_ticks]
    summary = f"{labels[1]} over {labels[0]}: {ys[0]:.4g} at {xs[0]:g}, {ys[-1]:.4g} at {xs[-1]:g}."
    return _chart(drawn, x_axis, y_axis, labels, summary)


def histogram(values: NDArray[np.float64], name: str) -> Html:
    """Draw a histogram of values in [0, 1], with their mean."""
    counts, edges = np.histogram(values, BINS, (0, 1))
    y_ticks = [tick for tick in _ticks(int(counts.max())) if tick == int(tick)]
    top = y_ticks[-1]
    bars = join(
        *(
            element(
                "rect",
                element("title", f"{count} cells with {name} {low:.2f} to {high:.2f}"),
                x=f"{_x(low) + 0.5:.1f}",
                y=f"{_y(count / top):.1f}",
                width=f"{_x(high) - _x(low) - 1:.1f}",
                height=f"{_y(0) - _y(count / top):.1f}",
            )
            for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
            if count
        )
    )
    mean = float(values.mean())
    at = f"{_x(mean):.1f}"
    line = element(
        "line", element("title", f"mean {mean:.4f}"), x1=at, x2=at, y1=TOP, y2=_y(0), class_="mean"
    )
    x_axis = [(tick / 5, f"{tick / 5:g}") for tick in range(6)]
    y_axis = [(tick / top, f"{tick:g}") for tick in y_ticks]
    perfect = float((values >= 0.9).mean())
    summary = (
        f"{name} of {values.size} cells: mean {mean:.4f}, median {np.median(values):.4f}, "
        f"{(values == 0).sum()} cells with 0, {perfect:.0%} with 0.9 or more."
    )
    drawn = element("g", bars, line, class_="bars")
    return _chart(drawn, x_axis, y_axis, (name, "cells"), summary)


def _chart(
    drawn: Html,
    x_axis: Sequence[tuple[float, str]],
    y_axis: Sequence[tuple[float, str]],
    labels: tuple[str, str],
    summary: str,
) -> Html:
    """Add axes, with ticks at fractions of their lengths, and a summary in words to a drawing."""
    grid = [
        element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{_y(at):.1f}", y2=f"{_y(at):.1f}")
        for at, _ in y_axis
    ]
    marks = [
        element("text", mark, x=f"{_x(at):.1f}", y=HEIGHT - BOTTOM + 18, text_anchor="middle")
        for at, mark in x_axis
    ] + [
        element("text", mark, x=LEFT - 6, y=f"{_y(at) + 4:.1f}", text_anchor="end")
        for at, mark in y_axis
    ]
    names = [
        element("text", labels[0], x=_x(0.5), y=HEIGHT - 6, text_anchor="middle"),
        element("text", labels[1], transform=f"translate(16 {_y(0.5)}) rotate(-90)",
                text_anchor="middle"),
    ]  # fmt: skip
    picture = element(
        "svg",
        element("g", *grid, class_="grid"),
        drawn,
        *marks,
        *names,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=summary,
    )
    return element("figure", picture, element("figcaption", summary), class_="chart")


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _ticks(largest: float) -> list[float]:
    """Return 3 to 7 round numbers from 0, the last one at `largest` or just above."""
    return list(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, max(largest, 1e-9)))
