import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unet2015.errors import InputError
from unet2015.instances import foreground, label_cells
from unet2015.instances.necks import part_at_necks


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(0, 6))
def test_labels_are_in_scan_order_and_eight_connected(mask, min_size):
    labels = label_cells(mask, min_size)
    seen = labels[labels > 0]
    _, first = np.unique(seen, return_index=True)
    assert seen[np.sort(first)].tolist() == list(range(1, len(first) + 1))
    expected = flood(mask)
    for component in expected:
        values = {int(labels[pixel]) for pixel in component}
        assert len(values) == 1
        assert (values == {0}) == (len(component) < min_size)
    assert len(first) == sum(len(component) >= min_size for component in expected)


def flood(mask):
    left = set(zip(*np.nonzero(mask), strict=True))
    components = []
    while left:
        queue = [left.pop()]
        component = set(queue)
        while queue:
            row, column = queue.pop()
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            component |= near
            queue += near
        components.append(component)
    return components


def test_the_most_probable_class_decides():
    probabilities = np.array([[[0.4, 0.6]], [[0.3, 0.2]], [[0.3, 0.2]]], np.float32)
    assert foreground(probabilities).tolist() == [[False, False]]
    assert foreground(probabilities[[1, 0, 2]]).tolist() == [[True, True]]
    assert foreground(probabilities[[1, 2, 0]]).tolist() == [[True, True]]
    assert foreground(np.full((2, 1, 1), 0.5, np.float32)).tolist() == [[False]]


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (1, 1)])
def test_an_empty_mask_has_no_cell(shape):
    assert label_cells(np.zeros(shape, bool)).shape == shape


def test_a_stack_is_refused():
    with pytest.raises(InputError, match=r"shape \(2, 3, 4\): give \(height, width\)"):
        label_cells(np.zeros((2, 3, 4), bool))


@pytest.mark.parametrize("function", [label_cells, lambda mask: part_at_necks(mask, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_numbered_cells_are_refused_as_a_mask(function, dtype):
    labels = np.array([[0, 7, 7, 9]], dtype)
    with pytest.raises(InputError, match=r"such as 7(\.0)? and 9(\.0)?: if these number cells"):
        function(labels)
    assert label_cells(labels > 0).tolist() == label_cells(7 * (labels > 0)).tolist()


@pytest.mark.parametrize("function", [label_cells, lambda mask: part_at_necks(mask, 3)])
def test_probabilities_are_refused_as_a_mask(function):
    for values in (0.3, 0.7, np.nan, 0.5j):
        with pytest.raises(InputError, match="such as probability > 0"):
            function(np.full((3, 4), values))
    whole = np.array([[0, 255], [0, 255]])
    for dtype in (np.uint8, np.float32):
        assert np.array_equal(function(whole.astype(dtype)) > 0, whole > 0)


def test_holes_are_filled_before_sizes_are_counted():
    ring = np.pad(np.zeros((2, 2), bool), 1, constant_values=True)
    assert label_cells(ring, 16).max() == 0
    assert (label_cells(ring, 16, fill_holes=True) == 1).all()
    assert label_cells(ring[1:], fill_holes=True).sum() == 8
