"""Select the channels of an image that a model reads."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ImageError, InputError, counted
from .source import Image, warn_once


def select_channels(image: Image, requested: Sequence[int | str], wanted: int) -> tuple[int, ...]:
    """Find the channels of an image that a model reads.

    Parameters
    ----------
    image : Image
        The image.
    requested : sequence of int or str
        Channel numbers, counted from 0, or names; empty for all channels. What is both a valid
        number and a name is taken as a number.
    wanted : int
        Number of channels that the model takes.

    Returns
    -------
    tuple of int
        `wanted` channel numbers in the order requested.

    Raises
    ------
    InputError
        If a channel does not exist or the number of channels is not `wanted`; the message shows
        the image's axes and channels.
    """
    names = f" ({', '.join(image.channel_names)})" if image.channel_names else ""
    have = f"{image.path} has {counted(image.channels, 'channel')}{names}, axes {image.describe()}"
    if not requested:
        if image.channels != wanted:
            raise ImageError(
                f"{have}, but the model takes {wanted}: choose with --channels, counting from 0"
                f"{image.stack_hint}."
                if image.channels > wanted
                else f"{have}, but the model takes {wanted}: use an image of that many."
            )
        return tuple(range(wanted))
    if len(requested) != wanted:
        raise InputError(
            f"{counted(len(requested), 'channel')} chosen, but the model takes {wanted} ({have}): "
            f"choose {wanted}."
        )
    return tuple(_channel_number(image, channel, have) for channel in requested)


def _channel_number(image: Image, channel: int | str, have: str) -> int:
    names = image.channel_names
    number = int(channel) if str(channel).isdecimal() else -1
    if not 0 <= number < image.channels:
        if channel in names:
            return names.index(str(channel))
        raise ImageError(f"there is no channel {channel}: {have}, counting from 0.")
    if channel in names and names[number] != channel:
        warn_once(
            f"{image.path}: using channel {number}, counting from 0, which is named "
            f'"{names[number]}"; the one named "{channel}" is channel {names.index(str(channel))}.'
        )
    return number
