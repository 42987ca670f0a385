import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unet2015 import InputError, sizes


def shrink(size: int, depth: int) -> int | None:
    """Follow one axis through the network, level by level; None if a step is impossible."""
    skips = []
    for _ in range(depth):
        size -= 4
        if size < 2 or size % 2:
            return None
        skips.append(size)
        size //= 2
    size -= 4
    for skip in reversed(skips):
        size *= 2
        if size < 1 or size > skip:
            return None
        size -= 4
    return size if size > 0 else None


@given(size=st.integers(1, 700), depth=st.integers(1, 6))
@example(size=16, depth=1)  # whose output has no pixel
def test_output_size_matches_the_layers(size, depth):
    expected = shrink(size, depth)
    if expected is None:
        with pytest.raises(InputError, match="not a valid input size"):
            sizes.output_size(size, depth)
    else:
        assert sizes.output_size(size, depth) == expected


@given(wanted=st.integers(1, 2000), depth=st.integers(1, 6))
def test_valid_input_size_is_the_smallest_sufficient_one(wanted, depth):
    size = sizes.valid_input_size(wanted, depth)
    assert sizes.output_size(size, depth) >= wanted
    smaller = [s for s in range(size - sizes.step(depth), size) if shrink(s, depth) is not None]
    assert all(sizes.output_size(s, depth) < wanted for s in smaller)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [(570, "556 and 572"), (10, "188"), (186, "188"), (189, "188 and 204")],
)
def test_the_error_for_an_invalid_size_names_the_nearest_valid_ones(size, nearest):
    told = rf"are 188, 204, 220, \.\.\.; the nearest to yours: {nearest}\.$"
    with pytest.raises(InputError, match=told):
        sizes.output_size(size, depth=4)


def test_an_output_without_pixels_is_refused():
    with pytest.raises(InputError, match="at least 1 pixel"):
        sizes.valid_input_size(0, depth=4)


def test_sizes_match_the_paper():
    assert sizes.border(4) == 92
    assert sizes.output_size(572, 4) == 388
    assert (sizes.output_size(444, 4), sizes.output_size(892, 4)) == (260, 708)
