import builtins
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unet2015 import InputError, augment, deform
from unet2015.augment import AugmentationConfig, Variation, draw, tile_coordinates


def deform_in_plain_python(image, displacement):
    """Linear interpolation at x + u(x), u the cubic spline through the nodes, mirrored edges."""
    height, width = image.shape
    result = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            at = [
                [row * (displacement.shape[1] - 1) / (height - 1)],
                [column * (displacement.shape[2] - 1) / (width - 1)],
            ]
            moved = [
                position + ndimage.map_coordinates(nodes, at, order=3, mode="mirror")[0]
                for position, nodes in zip((row, column), displacement, strict=True)
            ]
            result[row, column] = linear(image, *moved)
    return result


def linear(image, row, column):
    total = 0.0
    top, left = int(np.floor(row)), int(np.floor(column))
    for r, share_r in ((top, top + 1 - row), (top + 1, row - top)):
        for c, share_c in ((left, left + 1 - column), (left + 1, column - left)):
            total += share_r * share_c * image[fold(r, image.shape[0]), fold(c, image.shape[1])]
    return total


def fold(position, size):
    position %= 2 * (size - 1)
    return min(position, 2 * (size - 1) - position)


def arrays(seed, shape=(23, 31)):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return [image, (image > 0).astype(np.uint16), image.astype(np.float32)]


@given(st.integers(0, 10**6), st.floats(0, 12))
@settings(max_examples=15)
def test_deformation_equals_the_definition(seed, sigma):
    displacement = np.random.default_rng(seed).normal(0, sigma, (2, 3, 3))
    image = arrays(seed)[0]
    expected = deform_in_plain_python(image, displacement)
    assert np.allclose(deform([image], displacement, [1])[0], expected, atol=1e-9)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5))
@settings(max_examples=25)
def test_the_scipy_fallback_matches_elasticdeform(seed, down, across):
    pytest.importorskip("elasticdeform")
    displacement = np.random.default_rng(seed).normal(0, 4, (2, down, across))
    inputs, orders = arrays(seed), [3, 0, 1]
    for ours, twin in zip(
        deform(inputs, displacement, orders),
        augment.deform_with_scipy(inputs, displacement, orders),
        strict=True,
    ):
        assert np.allclose(ours, twin, atol=1e-5)


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "<u2", ">u2", "i8", "f2", "<f4", ">f4", "f8"])
@pytest.mark.parametrize("shape", [(23, 31), (1, 9), (9, 1), (1, 1)])
def test_zero_displacement_changes_nothing_for_any_dtype(monkeypatch, dtype, order, shape, twin):
    if twin:
        monkeypatch.setattr(augment, "_deformer", lambda: augment.deform_with_scipy)
    noise = np.random.default_rng(0).integers(0, 120, shape).astype(dtype)
    (found,) = deform([noise], np.zeros((2, 3, 3)), [order])
    assert found.dtype == np.dtype(dtype)
    assert np.allclose(found.astype(float), noise.astype(float), atol=1e-3)


@pytest.mark.parametrize(("dtype", "name"), [("u4", 2**32 - 2), ("i4", 2**31 - 2), ("i8", 2**53)])
def test_large_numbers_of_cells_stay_exact(dtype, name):
    labels = np.full((8, 9), name, dtype)
    labels[:, 4:] -= 1
    assert np.array_equal(deform([labels], np.zeros((2, 3, 3)), [0])[0], labels)


def test_cubic_interpolation_of_integers_stays_in_their_range():
    image = np.zeros((20, 20), np.uint8)
    image[:, 10:] = 255
    half = np.full((2, 3, 3), 0.5)
    expected = deform([image.astype(float)], half, [3])[0].clip(0, 255)
    assert np.abs(deform([image], half, [3])[0] - expected).max() <= 0.5 + 1e-4


def test_a_constant_displacement_shifts_the_image():
    image = arrays(1)[0]
    shift = np.stack([np.full((3, 3), 2.0), np.full((3, 3), -3.0)])
    assert np.allclose(deform([image], shift, [1])[0][:-2, 3:], image[2:, :-3])


def test_lists_are_deformed_like_arrays():
    image, field = arrays(1)[0], np.zeros((2, 3, 3))
    assert np.array_equal(deform([image.tolist()], field.tolist(), [1])[0], image)


def test_without_elasticdeform_scipy_is_used_with_one_warning(monkeypatch, caplog):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "elasticdeform":
            raise ImportError("numpy.core.multiarray failed to import")
        return real_import(name, *args, **kwargs)

    displacement = np.random.default_rng(0).normal(0, 4, (2, 3, 3))
    expected = deform(arrays(0), displacement, [1, 0, 1])
    augment._deformer.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with caplog.at_level(logging.WARNING):
        found = [deform(arrays(0), displacement, [1, 0, 1]) for _ in range(2)][1]
    augment._deformer.cache_clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert all(np.allclose(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("images", "nodes", "orders"),
    [
        ([np.zeros((4, 4)), np.zeros((4, 5))], (2, 3, 3), [1, 1]),
        ([np.zeros((4, 4, 4))], (2, 3, 3), [1]),
        ([np.zeros((4, 4))], (3, 3), [1]),
        ([np.zeros((4, 4))], (2, 1, 3), [1]),
        ([np.zeros((4, 4))], (2, 3, 3), [1, 0]),
        ([np.zeros((4, 4))], (2, 3, 3), [6]),
    ],
)
def test_mismatched_arguments_are_refused(images, nodes, orders):
    with pytest.raises(InputError):
        deform(images, np.zeros(nodes), orders)


def test_a_non_finite_displacement_is_refused():
    with pytest.raises(InputError, match="NaN or infinity"):
        deform([np.zeros((4, 4))], np.full((2, 3, 3), np.nan), [1])


@pytest.mark.parametrize("number", [2**53 + 2, -(2**53) - 2])
def test_integers_that_float64_cannot_hold_are_refused(number):
    with pytest.raises(InputError, match=r"2\*\*53"):
        deform([np.full((4, 4), number)], np.zeros((2, 3, 3)), [0])


def test_an_unrotated_tile_is_deformed_like_an_array():
    image = arrays(2, (41, 41))[0]
    displacement = np.random.default_rng(3).normal(0, 3, (2, 3, 3))
    seen = tile_coordinates(Variation(displacement, 0.0, 1.0, 0.0), (20.0, 20.0), 41)
    ours = ndimage.map_coordinates(image, seen, order=1, mode="mirror")
    assert np.allclose(ours, deform([image], displacement, [1])[0])


@pytest.mark.parametrize("size", [20, 21])
def test_a_quarter_turn_rotates_the_tile(size):
    image, centre = arrays(4, (size, size))[0], ((size - 1) / 2, (size - 1) / 2)
    seen = tile_coordinates(Variation(np.zeros((2, 3, 3)), 90.0, 1.0, 0.0), centre, size)
    turned = ndimage.map_coordinates(image, seen, order=1, mode="mirror")
    assert np.allclose(turned, np.rot90(image, -1))


def test_variations_follow_the_generator_and_the_config():
    config = AugmentationConfig()
    first, again = (draw(config, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    generator = np.random.default_rng(0)
    many = [draw(config, generator) for _ in range(400)]
    nodes = np.stack([one.displacement for one in many])
    assert nodes.shape[1:] == (2, 3, 3)
    assert nodes.std() == pytest.approx(10, rel=0.05)
    for amounts, most in (
        ([one.rotation for one in many], 180),
        ([one.gain - 1 for one in many], 0.2),
        ([one.offset for one in many], 0.2),
    ):
        assert [min(amounts), max(amounts)] == pytest.approx([-most, most], rel=0.05)
    assert {one.displacement.any() for one in many} == {True}
    still = draw(AugmentationConfig(deformation_sigma=0, rotation=0, gain=0, offset=0), generator)
    assert (still.displacement.any(), still.rotation, still.gain, still.offset) == (0, 0, 1, 0)
