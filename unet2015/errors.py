"""Exceptions that tell users what to change."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that names what was wrong, what is allowed and how to fix it;
    the command line prints it and exits with status 2.
    """


class ImageError(InputError):
    """An image cannot be used, for what it is; others may."""


class UnreachableError(ImageError):
    """An image cannot be read at present; it may come back as it was."""


def by(shape: Sequence[int]) -> str:
    """Write a shape as messages do, ``512x696``."""
    return "x".join(map(str, shape))
