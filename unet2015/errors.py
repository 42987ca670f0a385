"""Exceptions that tell users what to change, and what their messages are made of."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Input from the user cannot be used.

    The message is one sentence that names what was wrong, what is allowed and how to fix it;
    the command line prints it and exits with status 2.
    """


class ImageError(InputError):
    """An image cannot be used; the others are not affected."""


class UnreachableError(ImageError):
    """An image cannot be read at present, but may become available again."""


def check_choice(what: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is not one of those known; `what` names it in the message."""
    if value not in known:
        raise InputError(f"unknown {what} {value!r}: choose one of {', '.join(known)}.")


def by(shape: Sequence[int]) -> str:
    """Format a shape for messages, such as ``512x696``."""
    return "x".join(map(str, shape))


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as ``1 cell`` or ``2 cells``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def brief(message: object, length: int = 300) -> str:
    """The beginning of a message that is not ours, on one line."""
    return " ".join(str(message).split())[:length]


def some(names: Sequence[str]) -> str:
    """The first five of some names, and the number of the others."""
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
