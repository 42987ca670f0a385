from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from unet2015 import InputError
from unet2015.normalisation import fit, gather_statistics, normalise, statistics
from unet2015.tiles import ArraySource


def image(dtype):
    return np.random.default_rng(0).integers(10, 200, (2, 9, 7)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_standard_gives_mean_0_and_deviation_1_in_each_channel(dtype):
    scaled = normalise(image(dtype), "standard")
    assert scaled.dtype == np.float32
    assert np.allclose(scaled.mean(axis=(1, 2)), 0, atol=1e-5)
    assert np.allclose(scaled.std(axis=(1, 2)), 1, atol=1e-5)


def test_minmax_gives_0_to_1_in_each_channel():
    scaled = normalise(image(np.uint16), "minmax")
    assert np.allclose(scaled.min(axis=(1, 2)), 0)
    assert np.allclose(scaled.max(axis=(1, 2)), 1)


@pytest.mark.parametrize(("dtype", "greatest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_range_divides_by_the_maximum_of_the_dtype(dtype, greatest):
    assert np.allclose(normalise(image(dtype), "range"), image(dtype) / greatest)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_range_keeps_floats_from_0_to_1_and_refuses_others(dtype):
    unit = (image(np.float64) / image(np.float64).max()).astype(dtype)
    np.testing.assert_array_equal(normalise(unit, "range"), unit.astype(np.float32))
    normalise(unit * dtype(1.0005), "range")  # interpolation may exceed 0...1 this far
    for other in (image(dtype), unit - dtype(0.5), unit * dtype(1.01)):
        with pytest.raises(InputError, match="'range' takes floats from 0 to 1"):
            normalise(other, "range")


@pytest.mark.parametrize("scheme", ["standard", "minmax", "range"])
def test_a_constant_image_stays_finite(scheme):
    assert np.isfinite(normalise(np.full((1, 4, 4), 7, np.uint8), scheme)).all()


@pytest.mark.parametrize("scheme", ["standard", "minmax"])
def test_a_constant_image_is_zero_even_if_its_deviation_is_not(scheme):
    pixels = np.full((1, 300, 301), 0.3)
    assert statistics(pixels).deviation[0] > 0
    assert_allclose(normalise(pixels, scheme), 0, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [np.inf, -np.inf]])
def test_nan_and_infinite_pixels_are_refused(bad):
    pixels = image(np.float32)
    pixels[1, 2, 3 : 3 + len(bad)] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        normalise(pixels, "minmax")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="standard, minmax, range"):
        fit("magic", statistics(image(np.uint8)), np.dtype(np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("region", [(2, 3), (4, 7), (100, 100)])
def test_statistics_by_region_equal_those_of_the_whole_image(dtype, region):
    whole, by_region = (
        statistics(image(dtype)),
        gather_statistics(ArraySource(image(dtype)), region),
    )
    for expected, found in zip(whole, by_region, strict=True):
        assert np.allclose(expected, found, rtol=1e-12, atol=0)


def test_regions_end_with_the_image():
    class Watched(ArraySource):
        def read(self, rows, columns):
            assert rows.stop <= 9
            assert columns.stop <= 7
            return super().read(rows, columns)

    gather_statistics(Watched(image(np.uint8)), (4, 4))


def test_a_small_spread_about_a_large_mean_keeps_its_precision():
    pixels = 1e7 + np.random.default_rng(0).normal(size=(1, 60, 50))
    found = gather_statistics(ArraySource(pixels), (7, 11))
    assert found.deviation == pytest.approx(pixels.std(), rel=1e-9)
    assert np.allclose(normalise(pixels, "standard")[0], (pixels[0] - 1e7) / pixels.std(), atol=0.1)


@pytest.mark.parametrize("scheme", ["standard", "minmax"])
@pytest.mark.parametrize(
    ("dtype", "offset", "scale"),
    [
        (np.int32, 10**9, 1),
        (np.uint32, 4 * 10**9, 1),
        (np.int64, -(10**12), 1),
        (float, 1e9, 1),
        (np.float32, 1e6 + 0.125, 1),
        (float, 0, 1e-50),
    ],
)
def test_normalisation_ignores_dtype_offset_and_scale(scheme, dtype, offset, scale):
    plain = image(np.uint8)
    stored = plain.astype(dtype) * dtype(scale) + dtype(offset)
    assert np.allclose(normalise(stored, scheme), normalise(plain, scheme), atol=1e-5)


def test_statistics_by_region_refuse_nan():
    pixels = image(np.float64)
    pixels[0, 8, 6] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        gather_statistics(ArraySource(pixels), (4, 4))


@pytest.mark.parametrize(
    ("scheme", "ends"),
    [
        *product(["standard", "minmax"], [np.float32([3e38, -3e38, -3e38])]),
        *product(["standard", "minmax"], [np.float32([0, 1e-44, 0])]),
        *product(["standard", "minmax"], [[1e308, -1e308, -1e308]]),
        ("standard", [0, 1e-170, 0]),
    ],
)
def test_grey_values_beyond_float32_are_refused(scheme, ends):
    with pytest.raises(InputError, match="too large or too close together"):
        normalise(np.array([[ends]]), scheme)
