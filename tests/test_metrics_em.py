"""Measures of the EM challenge: hand-made cases and naive implementations."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from unet2015.errors import InputError
from unet2015.metrics import (
    EmScore,
    best_over_thresholds,
    em_score,
    information_f_score,
    overlap_table,
    rand_f_score,
    thin_borders,
    warp,
    warping_error,
)
from unet2015.metrics.warping import EIGHT, FOUR, RING, simple_codes

masks = hnp.arrays(bool, (7, 8))
label_images = hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 3))


def image(*rows):
    """Draw cells as #, membranes as blanks or dots."""
    return np.array([[character == "#" for character in row] for row in rows])


TWO_CELLS = image("###.####", "###.####", "###.####", "###.####", "###.####")


# --- Simple points -------------------------------------------------------------------------------


def parts(mask, structure):
    return ndimage.label(mask, structure)[1]


@pytest.mark.parametrize("code", range(256))
def test_simple_codes_match_the_definition(code):
    """A point is simple if turning it keeps the numbers of components in its neighbourhood.

    Cells are 4-connected, membranes 8-connected; the neighbourhood is 3 x 3 pixels.
    """
    cells = np.zeros((3, 3), bool)
    for bit, (row, column) in enumerate(RING):
        cells[1 + row, 1 + column] = code >> bit & 1
    with_point, without_point = cells.copy(), cells.copy()
    with_point[1, 1], without_point[1, 1] = True, False
    # Parts of cells that meet the point at a corner only count equally on both sides.
    unchanged = parts(with_point, FOUR) == parts(without_point, FOUR) and parts(
        ~with_point, EIGHT
    ) == parts(~without_point, EIGHT)
    assert simple_codes()[code] == unchanged


# --- Warping -------------------------------------------------------------------------------------


def slow_warp(reference, target):
    """Turn simple points in the same order as `warp`, one by one."""
    state, target = np.pad(reference, 1), np.pad(target, 1)
    while slow_flip(state, target, True) + slow_flip(state, target, False):
        pass
    return state[1:-1, 1:-1]


def slow_flip(state, target, kind):
    turned = 0
    while True:
        before = turned
        for row_turn, column_turn in product((0, 1), repeat=2):
            for row in range(2 - row_turn, state.shape[0] - 1, 2):
                for column in range(2 - column_turn, state.shape[1] - 1, 2):
                    code = sum(
                        int(state[row + r, column + c]) << k for k, (r, c) in enumerate(RING)
                    )
                    differs = state[row, column] == kind != target[row, column]
                    if differs and simple_codes()[code]:
                        state[row, column] = target[row, column]
                        turned += 1
        if turned == before:
            return turned


@given(masks, masks)
@example(  # with one round of growing before shrinking, another pixel differs
    image(".#####..", "########", "...#.###", "#.......", "#......#", "#.....##"),
    image("#..#....", "...#...#", "...#####", "...###..", "..###...", "#...#..."),
)
@settings(max_examples=50)
def test_warping_equals_flipping_one_point_at_a_time(reference, target):
    assert_array_equal(warp(reference, target), slow_warp(reference, target))


@given(masks, masks)
def test_warping_keeps_the_topology_and_matching_pixels(reference, target):
    warped = warp(reference, target)
    assert parts(warped, FOUR) == parts(reference, FOUR)
    # Outside the image is membrane.
    assert parts(np.pad(~warped, 1, constant_values=True), EIGHT) == parts(
        np.pad(~reference, 1, constant_values=True), EIGHT
    )
    assert_array_equal(warped[reference == target], target[reference == target])


@given(masks, masks)
def test_splits_and_mergers_equal_recounting_the_cells(reference, target):
    warped = warp(reference, target)
    split = merged = 0
    for point in zip(*np.nonzero(warped != target), strict=True):
        turned = warped.copy()
        turned[point] = target[point]
        more = parts(turned, FOUR) - parts(warped, FOUR)
        split += bool(warped[point] and more > 0)
        merged += bool(target[point] and more < 0)
    error = warping_error(reference, target)
    assert_allclose(error.split * target.size, split)
    assert_allclose(error.merged * target.size, merged)
    assert_allclose(error.error, (warped != target).mean())


def test_the_reference_itself_and_a_shifted_border_cost_nothing():
    assert warping_error(TWO_CELLS, TWO_CELLS).error == 0
    assert warping_error(TWO_CELLS, np.roll(TWO_CELLS, 1, axis=1)).error == 0
    thick = image(*["###...######"] * 5)
    assert warping_error(thick, np.roll(thick, 3, axis=1)).error == 0


def test_a_border_moved_by_two_pixels_is_a_split_and_a_merger():
    # Only differing pixels are turned, so the border cannot cross pixels that are cell in both.
    error = warping_error(TWO_CELLS, np.roll(TWO_CELLS, 2, axis=1))
    assert (error.merged * 40, error.split * 40) == (5, 1)


def test_a_thicker_and_a_bent_border_cost_nothing():
    thicker = image("##..####", "#...####", "##...###", "##..####", "##....##")
    assert warping_error(TWO_CELLS, thicker).error == 0


def test_a_broken_membrane_costs_the_length_of_its_gap():
    broken = TWO_CELLS.copy()
    broken[1:3, 3] = True
    error = warping_error(TWO_CELLS, broken)
    assert (error.merged * 40, error.split, error.error * 40) == (2, 0, 2)


def test_two_merged_cells_cost_the_whole_membrane():
    error = warping_error(TWO_CELLS, np.ones_like(TWO_CELLS))
    assert error.splits_and_mergers * 40 == error.merged * 40 == 5


def test_a_false_membrane_costs_its_thickness():
    for thickness in (1, 2):
        split = TWO_CELLS.copy()
        split[1 : 1 + thickness, 4:] = False
        error = warping_error(TWO_CELLS, split)
        assert (error.split * 40, error.merged, error.error * 40) == (thickness, 0, thickness)


def test_a_false_membrane_that_ends_inside_a_cell_costs_nothing():
    dangling = TWO_CELLS.copy()
    dangling[2, 4:6] = False
    assert warping_error(TWO_CELLS, dangling).error == 0


def test_holes_and_lone_objects_are_not_splits_or_mergers():
    spotted = TWO_CELLS.copy()
    spotted[2, 6] = False  # a spot of membrane inside a cell
    error = warping_error(TWO_CELLS, spotted)
    assert (error.error * 40, error.splits_and_mergers) == (1, 0)
    error = warping_error(
        np.zeros((5, 5), bool), image(".....", ".....", "..#..", ".....", ".....")
    )
    assert (error.error * 25, error.splits_and_mergers) == (1, 0)


def test_cells_that_touch_only_at_a_corner_are_not_merged():
    # The middle pixel closes the ring of the upper cell; it meets the lower one at a corner.
    reference = image("..###", "..#.#", "...##", ".#...", ".#...")
    target = reference.copy()
    target[2, 2] = True
    error = warping_error(reference, target)
    assert (error.error * 25, error.merged) == (1, 0)


def test_only_boolean_images_of_equal_size_are_warped():
    with pytest.raises(InputError, match="uint8 values: give True inside cells"):
        warping_error(np.ones((2, 2), bool), np.full((2, 2), 255, np.uint8))
    with pytest.raises(InputError, match=r"shape \(2, 2\) and the result \(2, 3\)"):
        warping_error(np.ones((2, 2), bool), np.ones((2, 3), bool))
    with pytest.raises(InputError, match=r"give two images \(height, width\)"):
        warping_error(np.ones((1, 2, 2), bool), np.ones((1, 2, 2), bool))


# --- Rand and information ------------------------------------------------------------------------


def singletons(segmented):
    """Give every membrane pixel of a result a cell of its own."""
    labels = segmented.astype(int)
    labels[segmented == 0] = 10 + np.arange((segmented == 0).sum())
    return labels


@given(label_images, label_images)
def test_rand_equals_counting_all_pairs_of_pixels(reference, segmented):
    a = reference[reference > 0].tolist()
    b = singletons(segmented)[reference > 0].tolist()
    pairs = list(product(range(len(a)), repeat=2))
    in_a = sum(a[i] == a[j] for i, j in pairs)
    in_b = sum(b[i] == b[j] for i, j in pairs)
    both = sum(a[i] == a[j] and b[i] == b[j] for i, j in pairs)
    expected = 2 * both / (in_a + in_b) if pairs else 1
    assert_allclose(rand_f_score([overlap_table(reference, segmented)]), expected)


def test_rand_agrees_with_skimage_where_the_result_has_no_membrane():
    adapted_rand_error = pytest.importorskip("skimage.metrics").adapted_rand_error
    rng = np.random.default_rng(3)
    reference, segmented = rng.integers(0, 4, (8, 8)), rng.integers(1, 4, (8, 8))
    reference, segmented = (
        np.kron(labels, np.ones((9, 9), int)) for labels in (reference, segmented)
    )
    error, _, _ = adapted_rand_error(reference, segmented)
    # skimage leaves out the pairs of a pixel with itself, here one in a few thousand.
    assert_allclose(1 - rand_f_score([overlap_table(reference, segmented)]), error, atol=1e-3)
    assert 0.1 < error < 0.9


def test_rand_pools_the_pairs_of_the_slices():
    perfect = overlap_table([[1, 1, 1, 1]], [[1, 1, 1, 1]])  # 16 pairs
    merged = overlap_table([[1, 1, 0, 2, 2]], [[1, 1, 1, 1, 1]])  # 8 true, 16 found
    assert rand_f_score([perfect, merged]) == 2 * (16 + 8) / (32 + 24)


@given(label_images, label_images)
def test_information_equals_the_sums_over_pixels(reference, segmented):
    a = reference[reference > 0].tolist()
    b = singletons(segmented)[reference > 0].tolist()

    def entropy(values):
        return -sum(np.log(values.count(value) / len(values)) for value in values) / len(values)

    got = information_f_score(overlap_table(reference, segmented))
    if not a or entropy(a) + entropy(b) < 1e-12:
        assert got == 1
    else:
        both = entropy(list(zip(a, b, strict=True)))
        expected = 2 * (entropy(a) + entropy(b) - both) / (entropy(a) + entropy(b))
        assert_allclose(got, expected, atol=1e-12)


# --- Thinning ------------------------------------------------------------------------------------


@given(masks)
def test_thinning_grows_cells_without_joining_them(cells):
    labels, thinned = ndimage.label(cells, FOUR)[0], thin_borders(cells)
    assert_array_equal(thinned[cells], labels[cells])
    for one, other in ((thinned[1:], thinned[:-1]), (thinned[:, 1:], thinned[:, :-1])):
        assert ((one == other) | (one == 0) | (other == 0)).all()


def test_thin_borders_are_one_pixel_wide():
    thick = image("##....##", "##....##")
    assert_array_equal(thin_borders(thick), [[1, 1, 1, 0, 2, 2, 2, 2]] * 2)
    assert not thin_borders(np.zeros((3, 3), bool)).any()


# --- The whole score -----------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [TWO_CELLS, image("##..", "##..", "..##", "..##")])
def test_a_perfect_stack_has_perfect_scores(cells):
    score = em_score(np.stack([cells] * 2), np.stack([cells] * 2))
    assert score == EmScore(0, 0, 0, 0, 0, 1, 1)


def test_a_stack_with_one_broken_membrane_has_known_scores():
    broken = TWO_CELLS.copy()
    broken[2, 3] = True
    score = em_score(np.stack([TWO_CELLS] * 2), np.stack([TWO_CELLS, broken]))
    assert_allclose(score.pixel_error, 1 / 80)
    assert_allclose(score.pixel_f_error, 1 - 2 * 70 / (70 + 71))
    assert_allclose(score.warping_error, 1 / 80)
    assert_allclose(score.splits_and_mergers, 1 / 80)
    # Cells of 15 and 20 pixels; merged in one of two slices.
    apart, together = 15**2 + 20**2, 35**2
    assert_allclose(score.rand_error, 1 - 2 * 2 * apart / (2 * apart + apart + together))
    # The only pixel that is membrane in both results is outside the reference's cells, so thinning
    # changes nothing; but V_rand is the mean over the slices, as in the challenge's script.
    assert_allclose(score.v_rand, (1 + 2 * apart / (apart + together)) / 2)
    assert_allclose(score.v_info, (1 + 0) / 2)


def test_only_the_v_scores_thin_borders_and_only_one_error_counts_holes():
    found = image("##...###", "##...###", "##...###", "##...#.#", "##...###")
    score = em_score(TWO_CELLS[None], found[None])
    cells, objects = (ndimage.label(mask, FOUR)[0] for mask in (TWO_CELLS, found))
    plain, thinned = overlap_table(cells, objects), overlap_table(cells, thin_borders(found))
    assert score.rand_error == 1 - rand_f_score([plain]) > 1 - rand_f_score([thinned])
    assert score.v_rand == rand_f_score([thinned])
    assert score.v_info == information_f_score(thinned) > information_f_score(plain)
    assert (score.warping_error, score.splits_and_mergers) == (1 / 40, 0)


def test_a_stack_of_membrane_has_no_error():
    score = em_score(*np.zeros((2, 1, 3, 4), bool))
    assert score == EmScore(0, 0, 0, 0, 0, 1, 1)


def test_best_errors_are_minima_and_best_scores_maxima():
    scores = [
        EmScore(0.3, 0.2, 0.1, 0.4, 0.4, 0.5, 0.9),
        EmScore(0.2, 0.3, 0.1, 0.5, 0.3, 0.6, 0.8),
    ]
    best = best_over_thresholds(scores, (0.25, 0.75))
    assert {name: tuple(at) for name, at in best.items()} == {
        "pixel_error": (0.2, 0.75),
        "pixel_f_error": (0.2, 0.25),
        "rand_error": (0.1, 0.25),
        "warping_error": (0.4, 0.25),
        "splits_and_mergers": (0.3, 0.75),
        "v_rand": (0.6, 0.75),
        "v_info": (0.9, 0.25),
    }


def test_mismatched_stacks_are_refused():
    with pytest.raises(InputError, match="two stacks"):
        em_score(TWO_CELLS, TWO_CELLS)
    with pytest.raises(InputError, match="two stacks"):
        em_score(TWO_CELLS[None], np.stack([TWO_CELLS] * 2))
