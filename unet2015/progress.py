"""Progress bars, which the option --quiet hides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from tqdm import tqdm


class Progress(tqdm):  # type: ignore[misc]  # tqdm is untyped
    """A progress bar of tqdm, with all its parameters."""

    hidden: ClassVar[bool] = False
    """Whether no bar is shown, not even those that are asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if Progress.hidden:
            options["disable"] = True
        super().__init__(*arguments, **options)


@contextmanager
def hidden_bars() -> Iterator[None]:
    """Hide all bars that begin inside."""
    Progress.hidden = True
    try:
        yield
    finally:
        Progress.hidden = False
