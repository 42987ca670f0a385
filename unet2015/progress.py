"""Progress bars, hidden by --quiet, and durations for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from tqdm import tqdm

LOG_SECONDS = 10
"""Seconds before and between updates of a bar in a file, such as a cluster's log."""


class Progress(tqdm):  # type: ignore[misc]  # tqdm is untyped
    """A progress bar of tqdm; without a terminal it appears late and is updated rarely."""

    hidden: ClassVar[bool] = False
    """Whether to hide all bars, even those requested explicitly."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if Progress.hidden or sys.stderr is None:
            options["disable"] = True
        elif not sys.stderr.isatty():
            options |= {"mininterval": LOG_SECONDS, "delay": LOG_SECONDS}
        super().__init__(*arguments, **options)

    def display(self, *arguments: Any, **options: Any) -> None:
        """Draw the bar, but not before its delay, as after messages that are logged beside it."""
        if self.delay <= 0 or self._time() >= self.start_t + self.delay:
            super().display(*arguments, **options)


@contextmanager
def hidden_bars() -> Iterator[None]:
    """Hide all bars created inside the block."""
    Progress.hidden = True
    try:
        yield
    finally:
        Progress.hidden = False


def duration(seconds: float) -> str:
    """Format a time for people: ``12 s``, ``3.4 min``, ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
