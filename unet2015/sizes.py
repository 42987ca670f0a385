"""Which image sizes the valid convolutions accept, and how much they take off.

Every 3x3 convolution without padding takes one pixel off each side, every pooling halves the
size, every up-convolution doubles it, and each pooling needs an even size. All of that comes down
to three lines of arithmetic: with ``depth`` poolings

* ``input = output + 2 * border``,
* ``border = 2 * (3 * 2**depth - 2)``, which is 92 for the paper's depth of 4,
* ``output`` is 4 more than a multiple of ``2**depth``: for depth 4, it is 4, 20, ..., 388, ...
"""

from __future__ import annotations

from .errors import InputError


def border(depth: int) -> int:
    """Pixels that the network takes off each side of its input.

    Parameters
    ----------
    depth : int
        Number of poolings, 4 in the paper.

    Returns
    -------
    int
        ``(input size - output size) / 2``.

    Examples
    --------
    >>> border(4)
    92
    """
    return 2 * (3 * 2**depth - 2)


def step(depth: int) -> int:
    """Distance in pixels between valid sizes, and between tiles that agree with each other.

    Max-pooling is not shift invariant below its stride, so only tiles whose offsets are multiples
    of ``2**depth`` reproduce the result for the whole image.
    """
    return 2**depth


def output_size(input_size: int, depth: int) -> int:
    """Size of the network's output for a valid input size.

    Parameters
    ----------
    input_size : int
        Height or width in pixels.
    depth : int
        Number of poolings.

    Raises
    ------
    InputError
        If the size is not valid; the message names the nearest sizes that are.

    Examples
    --------
    >>> output_size(572, depth=4)
    388
    """
    size = input_size - 2 * border(depth)
    smallest = valid_input_size(1, depth)
    if size < 1 or (size - 4) % step(depth):
        above = valid_input_size(max(size, 1), depth)
        nearest = f"{above}" if above == smallest else f"{above - step(depth)} and {above}"
        raise InputError(
            f"{input_size} is not a valid input size for a U-Net of depth {depth}: valid sizes are "
            f"{smallest}, {smallest + step(depth)}, {smallest + 2 * step(depth)}, ...; "
            f"the nearest to yours: {nearest}."
        )
    return size


def valid_input_size(output_size: int, depth: int) -> int:
    """Smallest valid input size whose output covers `output_size` pixels.

    Parameters
    ----------
    output_size : int
        Height or width in pixels that the output must cover at least.
    depth : int
        Number of poolings.

    Examples
    --------
    >>> valid_input_size(388, depth=4), valid_input_size(389, depth=4)
    (572, 588)
    """
    if output_size < 1:
        raise InputError(f"output_size is {output_size}: ask for at least 1 pixel.")
    missing = (4 - output_size) % step(depth)
    return output_size + missing + 2 * border(depth)
