import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from unet2015 import InputError, border_weight_map, separate_touching
from unet2015.weightmap import (
    FREIBURG,
    ClassCounts,
    WeightMapConfig,
    balanced_class_weights,
    count_classes,
    halo,
    map,
    ridge,
    twonearest,
)


def border_term(labels, w0=10.0, sigma=5.0, spacing=(1.0, 1.0)):
    """Eq. 2 as it stands, from each background pixel to all pixels of all cells."""
    term = np.zeros(labels.shape)
    names = [name for name in np.unique(labels) if name]
    if len(names) > 1:
        background = np.argwhere(labels == 0) * spacing
        distances = [
            cdist(background, np.argwhere(labels == name) * spacing).min(axis=1) for name in names
        ]
        d1, d2 = np.sort(distances, axis=0)[:2]
        term[labels == 0] = w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return term


def cut_pixel_by_pixel(labels):
    """Cut the ridge by its definition, pixel by pixel."""
    cut = labels.copy()
    height, width = cut.shape
    for y in range(height):
        for x in range(width):
            for v, u in ((y, x - 1), (y - 1, x - 1), (y - 1, x), (y - 1, x + 1)):
                if v >= 0 and 0 <= u < width and cut[v, u] and cut[y, x] not in (0, cut[v, u]):
                    cut[y, x] = 0
    return cut


@st.composite
def label_images(draw, largest=26):
    """Cells of all kinds: touching, in pieces, with holes, at the edge, one or none."""
    height, width = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64]))
    largest_name = min(np.iinfo(dtype).max, 2**32 - 1)
    names = draw(st.lists(st.integers(1, largest_name), max_size=7, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    blocks = draw(st.integers(1, 9))
    coarse = rng.choice(
        np.array([0, *names], dtype), (-(-height // blocks), -(-width // blocks)), shuffle=False
    )
    labels = np.kron(coarse, np.ones((blocks, blocks), dtype))[:height, :width]
    labels[rng.random(labels.shape) < draw(st.sampled_from([0, 0, 0.1, 0.6, 0.95]))] = 0
    return labels


def discs(count, size, radius, seed=0, dtype=np.uint32):
    """Discs that touch and overlap, later ones on top."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), dtype)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    for name in range(1, count + 1):
        top, left = rng.integers(0, size - 2 * radius, 2)
        region = labels[top : top + 2 * radius + 1, left : left + 2 * radius + 1]
        region[x**2 + y**2 <= radius**2] = name
    return labels


# Distances


@given(label_images(), st.sampled_from([0.1, 0.5, 2.0, 5.0, 300.0]))
@settings(max_examples=150)
def test_border_term_equals_the_formula(labels, sigma):
    weights = border_weight_map(labels, 10.0, sigma, class_weights=None)
    assert weights.dtype == np.float32
    assert weights.shape == labels.shape
    expected = border_term(cut_pixel_by_pixel(labels), 10.0, sigma)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-4)


@given(label_images(), st.tuples(*[st.sampled_from([0.2, 0.5, 1.0, 1.7])] * 2))
@settings(max_examples=60)
def test_distances_respect_the_spacing(labels, spacing):
    weights = border_weight_map(labels, 10.0, 2.0, class_weights=None, spacing=spacing)
    expected = border_term(cut_pixel_by_pixel(labels), 10.0, 2.0, spacing)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-4)


def test_very_narrow_pixels_keep_the_tolerance():
    labels = np.zeros((120, 3), np.uint8)
    labels[[10, 80, 100], [0, 2, 0]] = 1, 2, 3
    weights = border_weight_map(labels, 10.0, 16.5, class_weights=None, spacing=(0.0034, 9.0))
    expected = border_term(labels, 10.0, 16.5, (0.0034, 9.0))
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [0.1, 0.2, 0.7])
def test_the_unit_of_lengths_does_not_matter(size):
    # Squares of such numbers of pixels are not exact: (3 * 0.7)**2 / 0.7**2 is less than 9.
    labels = discs(8, 60, 5)
    expected = border_weight_map(labels, sigma=5.0, class_weights=None)
    found = border_weight_map(labels, sigma=5.0 * size, class_weights=None, spacing=(size, size))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@given(label_images(70))
@settings(max_examples=40)
def test_tiles_leave_no_seams(labels):
    whole = border_weight_map(labels, sigma=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twonearest, "_TILE", 8)
        patch.setattr(ridge, "_BAND", 3)
        np.testing.assert_array_equal(border_weight_map(labels, sigma=1.0), whole)


@pytest.mark.parametrize(
    ("count", "sigma"), [(20, 5.0), (70, 5.0), (400, 2.0), (400, 30.0), (9, 1e20), (9, 1e-6)]
)
def test_any_number_of_cells_and_any_sigma_work(count, sigma):
    # Squared distance and cell share one integer: 16 bits suffice for few cells, 32 for many, and
    # far distances between many need 64.
    labels = np.zeros((60, 60), np.uint16)
    rng = np.random.default_rng(count)
    labels[tuple(rng.integers(0, 60, (2, count)))] = np.arange(1, count + 1)
    weights = border_weight_map(labels, 10.0, sigma, class_weights=None)
    expected = border_term(separate_touching(labels), 10.0, sigma)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-4)


def test_as_many_cells_as_16_bits_just_cannot_hold_work():
    labels = np.zeros((80, 80), np.uint8)
    labels.flat[: 67 * 90 : 90] = np.arange(1, 68)
    sigma = 23.01 / 4.79957  # cells within 22.01 pixels matter: 67 numbers times 2 * 22**2 + 3
    weights = border_weight_map(labels, 10.0, sigma, class_weights=None)
    np.testing.assert_allclose(weights, border_term(labels, 10.0, sigma), rtol=0, atol=1e-4)


def test_distances_are_between_pixel_centres():
    weights = border_weight_map([[1, 0, 2]], class_weights=None)
    np.testing.assert_allclose(weights, [[0, 10 * np.exp(-(2**2) / 50), 0]], rtol=1e-6)
    weights = border_weight_map([[1, 2, 2]], class_weights=None)  # the ridge takes the middle
    np.testing.assert_allclose(weights, [[0, 10 * np.exp(-(2**2) / 50), 0]], rtol=1e-6)
    weights = border_weight_map([[0, 0, 1], [0, 0, 0], [2, 0, 0]], class_weights=None)
    np.testing.assert_allclose(weights[0, 0], 10 * np.exp(-(4**2) / 50), rtol=1e-6)


def test_a_cell_in_two_pieces_is_one_cell():
    assert not border_weight_map([[1, 0, 0, 1]], class_weights=None).any()
    assert border_weight_map([[1, 0, 0, 2]], class_weights=None)[0, 1] > 5


def test_defaults_match_the_paper():
    labels = discs(8, 60, 9)
    assert (WeightMapConfig().w0, WeightMapConfig().sigma) == (10.0, 5.0)
    np.testing.assert_array_equal(
        border_weight_map(labels), border_weight_map(labels, 10, 5, class_weights="balanced")
    )


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "<i4", "float32", "float16", "int64"])
def test_any_dtype_of_whole_numbers_is_accepted(dtype):
    labels = discs(8, 60, 9, dtype=np.uint8)
    expected = border_weight_map(labels)
    np.testing.assert_array_equal(border_weight_map(labels.astype(dtype)), expected)
    np.testing.assert_array_equal(border_weight_map(labels.astype(dtype, order="F")), expected)


def test_a_stack_is_handled_plane_by_plane():
    stack = np.stack([discs(9, 50, 6, seed) for seed in range(6)]).reshape(2, 3, 50, 50)
    pair = (1.0, 0.5)
    weights = border_weight_map(stack, class_weights=pair)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(
            weights[index], border_weight_map(stack[index], class_weights=pair)
        )


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 4, 5), (1, 1)])
@pytest.mark.parametrize("dtype", [int, float])
def test_images_without_pixels_or_cells_are_accepted(shape, dtype):
    assert border_weight_map(np.zeros(shape, dtype)).shape == shape


def test_masked_labels_are_refused():
    labels = np.ma.masked_equal([[1, 0, 2]], 2)
    for function in (border_weight_map, separate_touching, count_classes):
        with pytest.raises(InputError, match="take the mask as ignore"):
            function(labels)
    with pytest.raises(InputError, match="is masked"):
        border_weight_map([labels, labels])
    with pytest.raises(InputError, match="is masked"):
        border_weight_map(labels.data, ignore=np.ma.masked_equal(labels.data == 2, True))


def test_the_input_is_not_modified():
    labels = discs(9, 50, 9)
    before = labels.copy()
    border_weight_map(labels, ignore=3)
    np.testing.assert_array_equal(labels, before)


# The ridge


@given(label_images())
@settings(max_examples=150)
def test_ridges_equal_those_cut_pixel_by_pixel(labels):
    cut = separate_touching(labels)
    assert cut.dtype == labels.dtype
    np.testing.assert_array_equal(cut, cut_pixel_by_pixel(labels))
    np.testing.assert_array_equal(separate_touching(cut), cut)


@pytest.mark.parametrize("labels", [np.arange(1, 601).reshape(3, 200), np.tile([1, 2], (40, 20))])
def test_ridge_where_every_pixel_touches_another_cell(labels):
    np.testing.assert_array_equal(separate_touching(labels), cut_pixel_by_pixel(labels))


def test_ridges_are_cut_in_uint8_if_labels_are_bool():
    cut = separate_touching([[True, False]])
    assert cut.dtype == np.uint8
    assert cut.tolist() == [[1, 0]]


def test_ridge_is_one_pixel_wide():
    labels = np.repeat([1, 1, 1, 2, 2, 2], 4).reshape(-1, 4)
    np.testing.assert_array_equal(separate_touching(labels)[:, 0], [1, 1, 1, 0, 2, 2])
    np.testing.assert_array_equal(separate_touching(labels.T)[0], [1, 1, 1, 0, 2, 2])


@given(label_images(), st.sampled_from([3, 5]))
@settings(max_examples=50)
def test_a_wider_ridge_takes_the_pixels_around_the_cut(labels, ridge):
    cut = (labels != 0) & (separate_touching(labels) == 0)
    around = ridge // 2
    near = np.zeros_like(cut)
    for row, column in np.argwhere(cut):
        rows = slice(max(row - around, 0), row + around + 1)
        near[rows, max(column - around, 0) : column + around + 1] = True
    np.testing.assert_array_equal(separate_touching(labels, ridge), np.where(near, 0, labels))


@pytest.mark.parametrize("function", [separate_touching, border_weight_map])
@pytest.mark.parametrize("ridge", [-1, 1.5, 2])
def test_ridges_must_have_an_odd_width(function, ridge):
    with pytest.raises(InputError, match="must be an odd number above 0, or 0 to cut none"):
        function([[1, 2]], ridge=ridge)


def test_ridge_can_be_switched_off():
    labels = np.array([[1, 1, 2, 2]])
    assert border_weight_map(labels, class_weights=None).any()
    assert not border_weight_map(labels, class_weights=None, ridge=0).any()
    kept = separate_touching(labels, 0)
    np.testing.assert_array_equal(kept, labels)
    assert not np.shares_memory(kept, labels)


@pytest.mark.parametrize("ridge", [1, 3, 5])
def test_weights_are_those_of_the_target_with_its_ridges(ridge):
    labels = discs(220, 300, 12)
    cells = separate_touching(labels, ridge)
    assert (cells != labels).any()
    expected = border_weight_map(cells, ridge=0)
    np.testing.assert_array_equal(border_weight_map(labels, ridge=ridge), expected)


@pytest.mark.parametrize("balance", [-0.1, 1.1, np.nan])
def test_a_balance_out_of_range_is_refused(balance):
    with pytest.raises(InputError, match="must be from 0 to 1"):
        balanced_class_weights(ClassCounts(1, 9), balance)


# Region by region


def test_bands_and_regions_equal_the_whole_image():
    labels = discs(220, 300, 12)
    whole_cut = separate_touching(labels)
    cut = np.zeros_like(labels)
    for top in range(0, 300, 77):
        rows = labels[top : top + 77]
        above = cut[max(top - 1, 0) : top]
        cut[top : top + 77] = separate_touching(np.concatenate([above, rows]))[len(above) :]
    np.testing.assert_array_equal(cut, whole_cut)

    pair = balanced_class_weights(count_classes(cut))
    whole = border_weight_map(labels)
    rows, columns = halo()
    for top in range(0, 300, 64):
        for left in range(0, 300, 113):
            first, start = max(top - rows, 0), max(left - columns, 0)
            grown = cut[first : top + 64 + rows, start : left + 113 + columns]
            weights = border_weight_map(grown, class_weights=pair, ridge=0)
            region = np.s_[top : top + 64, left : left + 113]
            part = whole[region]
            inner = weights[top - first :, left - start :][: part.shape[0], : part.shape[1]]
            np.testing.assert_array_equal(inner, part)


def test_halo_covers_every_cell_that_matters():
    rows, columns = halo(5.0)
    assert rows == columns == 22
    labels = np.zeros((1, 40), int)
    labels[0, 1], labels[0, 2 + rows] = 1, 2
    assert border_weight_map(labels, class_weights=None)[0, 2] > 0
    labels[0, 2 + rows], labels[0, 3 + rows] = 0, 2
    assert border_weight_map(labels, class_weights=None)[0, 2] == 0
    assert halo(5.0, spacing=(2.0, 0.5)) == (11, 46)
    with pytest.raises(InputError, match="sigma is -1"):
        halo(-1)


# Class weights


def test_balanced_classes_have_mean_one_and_equal_shares():
    labels = discs(9, 80, 9)
    weights = border_weight_map(labels, w0=0)
    cells = separate_touching(labels) > 0
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(weights[cells].sum(), weights[~cells].sum(), rtol=1e-5)


def test_classes_are_balanced_over_a_data_set():
    targets = [np.array([[0, 0, 0, 1]]), np.array([[0, 5], [0, 0]])]
    pair = balanced_class_weights(targets)
    assert pair == (8 / (2 * 2), 8 / (2 * 6))
    assert pair == balanced_class_weights(ClassCounts(foreground=2, background=6))
    assert count_classes(np.array([[0, 255, 1]]), ignore=255) == (1, 1)


@pytest.mark.parametrize("counts", [(0, 0), (7, 0), (0, 7)])
def test_an_absent_class_gives_equal_weights(counts):
    assert balanced_class_weights(ClassCounts(*counts)) == (1, 1)


def test_class_weights_may_be_a_name_or_a_pair(caplog):
    labels = np.array([[0, 1, 1]])
    with caplog.at_level(logging.INFO, "unet2015.weightmap"):
        freiburg = border_weight_map(labels, class_weights="freiburg")
        border_weight_map(labels, class_weights="balanced")
    assert "foreground 1, background 0.1" in caplog.text
    assert "foreground 0.75, background 1.5" in caplog.text
    np.testing.assert_array_equal(freiburg, border_weight_map(labels, class_weights=FREIBURG))
    np.testing.assert_allclose(freiburg, [[0.1, 1, 1]], rtol=1e-6)
    assert not border_weight_map(labels, class_weights=None).any()
    np.testing.assert_array_equal(border_weight_map(labels, class_weights=(1, 0)), labels)


def test_a_boolean_mask_is_warned_about_once(caplog):
    map._warn_of_mask.cache_clear()
    for _ in range(2):
        border_weight_map([[True, False]], class_weights=None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "counts as one cell" in caplog.text


def test_counts_need_their_type():
    with pytest.raises(InputError, match=r"give arrays of pixels, or ClassCounts\(foreground"):
        balanced_class_weights((100, 900))


def test_an_ignored_label_is_no_cell_and_counts_for_no_class():
    labels = np.array([[1, 0, 9, 9, 0, 0]])
    weights = border_weight_map(labels, ignore=9)
    np.testing.assert_allclose(weights, [[2, 2 / 3, 0, 0, 2 / 3, 2 / 3]], rtol=1e-6)
    signed = np.where(labels == 9, -1, labels)
    np.testing.assert_array_equal(border_weight_map(signed, ignore=-1), weights)
    np.testing.assert_array_equal(border_weight_map(labels, ignore=np.uint16(9)), weights)


def test_an_ignore_mask_keeps_the_cells_below_it():
    labels = np.array([[1, 0, 2, 2, 0, 0]])
    weights = border_weight_map(labels, ignore=labels == 2)
    np.testing.assert_allclose(weights[0, 1], 2 / 3 + 10 * np.exp(-4 / 50), rtol=1e-6)
    assert not weights[labels == 2].any()
    assert weights[0, 0] == 2


# Mistakes


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([[0.5, 1.0]], "fractions"),
        ([[np.nan, 1.0]], "NaN"),
        ([[np.inf, 1.0]], "infinity"),
        ([[1e300, 1.0]], "2\\*\\*63"),
        ([[2.0**63, 1.0]], "2\\*\\*63"),
        ([[-1e300, 1.0]], "2\\*\\*63"),
        ([[-1, 1]], "negative value -1"),
        ([[-1.0, 1.0]], "negative value -1"),
        (np.zeros((9, 9, 3), np.uint8), "colour"),
        (np.zeros((9, 9, 4), np.uint8), "colour"),
        ([0, 1, 2], "not an image"),
        (7, "not an image"),
        ([[1j]], "complex"),
        ([["a"]], "type <U1"),
        ([[None, 1]], "type object"),
    ],
)
@pytest.mark.parametrize("function", [border_weight_map, separate_touching])
def test_invalid_label_images_are_refused(labels, what, function):
    with pytest.raises(InputError, match=what):
        function(labels)


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ({"sigma": 0}, "sigma is 0"),
        ({"sigma": -2.0}, "sigma is -2.0"),
        ({"sigma": np.nan}, "sigma is nan"),
        ({"sigma": np.inf}, "sigma is inf"),
        ({"w0": -1}, "w0 is -1"),
        ({"w0": np.inf}, "w0 is inf"),
        ({"w0": 1e39}, "w0 is 1e\\+39"),
        ({"spacing": 2.0}, "spacing is 2.0"),
        ({"spacing": (1.0, 0.0)}, "spacing is"),
        ({"spacing": (1.0, np.inf)}, "spacing is"),
        ({"spacing": (1.0,)}, "spacing is"),
        ({"class_weights": "inverse"}, "'inverse'"),
        ({"class_weights": (1.0, -1.0)}, "class weights are"),
        ({"class_weights": (1.0,)}, "class weights are"),
        ({"class_weights": 5}, "class weights are"),
        ({"ignore": np.zeros((2, 2), bool)}, "shape \\(2, 2\\)"),
        ({"ignore": np.zeros((1, 2), int)}, "int64"),
        ({"ignore": False}, "ignore is False"),
        ({"ignore": True}, "ignore is True"),
        ({"ignore": 0}, "cannot be 0, the background"),
        ({"class_weights": (1e39, 1)}, "class weights are"),
    ],
)
def test_options_out_of_range_are_refused(option, what):
    with pytest.raises(InputError, match=what):
        border_weight_map([[1, 0]], **option)


def test_no_slow_packages_are_imported():
    program = (
        "import sys; from unet2015 import border_weight_map, separate_touching;"
        "print({'torch', 'scipy', 'skimage', 'tifffile', 'zarr'} & sys.modules.keys())"
    )
    found = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert found == "set()\n"
