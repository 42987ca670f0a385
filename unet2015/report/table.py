"""Tables of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .html import Html, element


def table(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Make a scrollable table.

    Parameters
    ----------
    name : str
        Description for screen readers.
    columns : sequence of str
        Headings.
    rows : iterable of sequences
        Text, numbers or `Html`.
    """
    heading = element("tr", *(element("th", column, scope="col") for column in columns))
    body = [element("tr", *(element("td", show(cell)) for cell in row)) for row in rows]
    return element(
        "div",
        element("table", element("thead", heading), element("tbody", *body)),
        class_="scroll tall",
        tabindex=0,
        role="region",
        aria_label=name,
    )


def show(value: object) -> object:
    """Round numbers for people; a dash stands for None and nan."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else value
