import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unet2015.instances import label_cells
from unet2015.instances.necks import part_at_necks
from unet2015.instances.pieces import Components, Plane
from unet2015.instances.stitching import number_cells


def plane(array):
    return Plane(array.shape, lambda rows, columns: array[rows, columns])


def whole(cells):
    height, width = cells.labels.shape
    return cells.labels.read(slice(0, height), slice(0, width))


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    block=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    share=st.floats(0.02, 0.98),
    coarse=st.integers(1, 4),
    min_size=st.integers(0, 30),
    fill_holes=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60)
def test_blockwise_labels_equal_whole_image_labels(
    height, width, block, share, coarse, min_size, fill_holes, seed
):
    noise = np.random.default_rng(seed).random((height, width))
    mask = np.kron(noise < share, np.ones((coarse, coarse), bool))[:height, :width]
    expected = label_cells(mask, min_size, fill_holes)
    cells = number_cells(plane(mask), block, min_size, fill_holes)
    assert cells.total == expected.max(initial=0)
    found = whole(cells)
    assert found.dtype == np.uint32
    assert np.array_equal(found, expected)


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    block=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    smoothing=st.floats(0.6, 5),
    share=st.floats(0.1, 0.95),
    depth=st.floats(0, 3),
    min_size=st.integers(0, 40),
    fill_holes=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60)
def test_blockwise_neck_cuts_equal_whole_image_cuts(
    size, block, smoothing, share, depth, min_size, fill_holes, seed
):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(size), smoothing)
    mask = noise <= np.quantile(noise, share)
    filled = ndimage.binary_fill_holes(mask) if fill_holes else mask
    expected = label_cells(part_at_necks(filled, depth), min_size)
    cells = number_cells(plane(mask), block, min_size, fill_holes, depth)
    assert np.array_equal(whole(cells), expected)


def pair_of_discs(top):
    y, x = np.ogrid[:60, :50]
    return np.hypot(y - 18 - top, x - 14) < 12, np.hypot(y - 18 - top, x - 34) < 12


def test_necks_are_cut_in_any_order_of_cells_and_blocks():
    mask = np.hstack([np.logical_or(*pair_of_discs(top)) for top in (0, 6, 25, 1, 12)])
    expected = label_cells(part_at_necks(mask, 3))
    assert expected.max() == 10
    before = mask.copy()
    for block in (16, 16), (7, 30), (60, 250):
        assert np.array_equal(whole(number_cells(plane(mask), block, neck_depth=3)), expected)
    assert np.array_equal(mask, before)


def test_a_cell_of_the_least_size_is_cut():
    mask = np.logical_or(*pair_of_discs(0))
    assert number_cells(plane(mask), (60, 50), int(mask.sum()), neck_depth=3).total == 0
    assert number_cells(plane(mask), (60, 50), int(mask.sum())).total == 1


def test_cells_and_holes_may_span_all_blocks():
    y, x = np.mgrid[:200, :200] - 99.5
    radius = np.hypot(y, x)
    meander = np.ones((200, 200), bool)
    meander[5::10, :-3] = meander[10::10, 3:] = False
    assert label_cells(meander).max() == 1
    assert number_cells(plane(meander), block=(16, 16)).total == 1
    ring = (radius > 80) & (radius < 90) | (radius < 10)
    cells = number_cells(plane(ring), fill_holes=True, block=(16, 16))
    assert cells.total == 1
    assert np.array_equal(whole(cells) > 0, radius < 90)


def test_any_region_of_the_result_can_be_read():
    mask = np.random.default_rng(0).random((90, 70)) < 0.5
    cells = number_cells(plane(mask), (16, 32), 3)
    region = cells.labels.read(slice(13, 50), slice(30, 69))
    assert np.array_equal(region, label_cells(mask, 3)[13:50, 30:69])


def test_boxes_are_those_of_the_whole_image():
    mask = np.random.default_rng(0).random((90, 70)) < 0.3
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    expected = [(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(labels)]
    found = Components(plane(mask), 8, (16, 32)).boxes()
    assert sorted(map(tuple, found.tolist())) == sorted(expected)


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks(value):
    cells = number_cells(plane(np.full((20, 30), value)), fill_holes=True, block=(8, 8))
    assert cells.total == value
    assert (whole(cells) == value).all()


def test_no_more_than_a_block_is_read_at_once():
    largest = 0

    def read(rows, columns):
        nonlocal largest
        largest = max(largest, (rows.stop - rows.start) * (columns.stop - columns.start))
        row, column = np.ogrid[rows, columns]
        return (row // 7 + column // 9) % 2 == 0

    cells = number_cells(Plane((300, 500), read), fill_holes=True, block=(32, 64))
    cells.labels.read(slice(0, 300), slice(0, 500))
    assert largest == 32 * 64
