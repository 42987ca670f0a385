"""Progress bars, which the option --quiet hides."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from tqdm import tqdm

LOG_SECONDS = 10
"""Seconds before and between the states of a bar in a file, such as the log of a cluster."""


class Progress(tqdm):  # type: ignore[misc]  # tqdm is untyped
    """A progress bar of tqdm, with all its parameters; without a terminal it comes late, rarely."""

    hidden: ClassVar[bool] = False
    """Whether no bar is shown, not even those that are asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if Progress.hidden:
            options["disable"] = True
        if sys.stderr is None or not sys.stderr.isatty():
            options |= {"mininterval": LOG_SECONDS, "delay": LOG_SECONDS}
        super().__init__(*arguments, **options)


@contextmanager
def hidden_bars() -> Iterator[None]:
    """Hide all bars that begin inside."""
    Progress.hidden = True
    try:
        yield
    finally:
        Progress.hidden = False
