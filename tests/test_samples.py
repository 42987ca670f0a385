import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from unet2015 import InputError
from unet2015.augment import AugmentationConfig, draw
from unet2015.datasets.frames import annotated_frame, in_field
from unet2015.normalisation import normalise
from unet2015.samples import linear, nearest, prepare, random_sample
from unet2015.schedule import TrainingConfig
from unet2015.tiles import mirror
from unet2015.weightmap import (
    ClassCounts,
    WeightMapConfig,
    balanced_class_weights,
    border_weight_map,
)

BALANCED = TrainingConfig(class_balance=1.0, ridge=1)
STILL = AugmentationConfig(deformation_sigma=0, rotation=0, gain=0, offset=0)


def frames(known=25):
    """One frame, annotated in its first `known` rows."""
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 36), np.int64)
    labels[5:20, 5:14] = 1
    labels[5:20, 14:25] = 2
    ignore = np.zeros(labels.shape, bool)
    ignore[known:] = True
    return [annotated_frame(rng.integers(0, 255, labels.shape), labels, "a", ignore)]


def test_training_ridges_are_three_pixels_wide():
    (frame,), _ = prepare(frames(), TrainingConfig(), WeightMapConfig())
    np.testing.assert_array_equal(frame.target[10, 10:18], [1, 1, 1, 0, 0, 0, 1, 1])
    assert (frame.weight[10, 13:16] > 8).all()


def test_frames_are_prepared_according_to_the_settings():
    training = TrainingConfig(normalisation="range", ridge=1)
    (frame,), classes = prepare(frames(), training, WeightMapConfig(w0=3, sigma=2))
    (source,) = frames()
    np.testing.assert_array_equal(frame.image, normalise(source.image, "range"))
    expected = border_weight_map(source.labels, 3, 2, class_weights=classes, ignore=source.ignore)
    np.testing.assert_array_equal(frame.weight, expected)


def test_without_ridges_neither_target_nor_weights_have_any():
    (frame,), classes = prepare(frames(), TrainingConfig(ridge=0), WeightMapConfig())
    (source,) = frames()
    np.testing.assert_array_equal(frame.target, source.labels > 0)
    expected = border_weight_map(
        source.labels, class_weights=classes, ignore=source.ignore, ridge=0
    )
    np.testing.assert_array_equal(frame.weight, expected)


def test_grey_value_variation_is_independent_of_the_normalisation():
    def sample(normalisation):
        training = TrainingConfig(normalisation=normalisation)
        (frame,), _ = prepare(frames(), training, WeightMapConfig())
        config = AugmentationConfig(gain=0.5, offset=0.5)
        (image, _, _) = random_sample([frame], 16, 2, config, np.random.default_rng(0))
        return (image - frame.image.mean()) / frame.image.std()

    plain = sample("standard")
    assert abs(plain.mean()) > 0.1, "the brightness varies"
    for other in ("minmax", "range"):
        np.testing.assert_allclose(sample(other), plain, atol=1e-5)


def test_cells_erased_by_ridges_are_warned_about(caplog):
    labels = np.repeat(np.arange(1, 5), 3)[:, None] * np.ones(8, np.int64)
    small = annotated_frame(np.arange(96).reshape(12, 8), labels, "small", labels < 0)
    prepare([small], TrainingConfig(ridge=5), WeightMapConfig())
    assert "small: cells too small for ridges of 5 pixels become background: 3;" in caplog.text
    caplog.clear()
    prepare([small], TrainingConfig(ridge=1), WeightMapConfig())
    assert not caplog.text


def test_targets_have_ridges_and_weights_border_and_class_terms():
    (frame,), classes = prepare(frames(), BALANCED, WeightMapConfig())
    assert set(np.unique(frame.target)) == {0, 1}
    assert not frame.target[5:20, 14].any(), "the ridge between the touching cells"
    valid = frame.weight[:25]
    assert not frame.weight[25:].any()
    counts = ClassCounts(int(frame.target.sum()), int(25 * 36 - frame.target.sum()))
    assert classes == balanced_class_weights(counts)
    border = border_weight_map(frames()[0].labels, class_weights=None)[:25]
    expected = border + np.where(frame.target[:25], *classes)
    assert np.allclose(valid, expected, atol=1e-5)
    assert abs(frame.image.mean()) < 1e-5


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_class_weights_have_mean_1(balance):
    counts = ClassCounts(130, 870)
    foreground, background = balanced_class_weights(counts, balance)
    assert 130 * foreground + 870 * background == pytest.approx(1000)
    assert foreground / background == pytest.approx((870 / 130) ** balance)
    assert balanced_class_weights(ClassCounts(0, 5), balance) == (1, 1)


def test_an_unaugmented_tile_is_a_window_of_the_mirrored_frame():
    prepared, _ = prepare(frames(known=30), BALANCED, WeightMapConfig())
    frame = prepared[0]
    generator = np.random.default_rng(0)

    class WholePixels:
        """A generator whose positions are whole pixels, so that nothing is interpolated."""

        def __getattr__(self, name):
            return getattr(generator, name)

        def uniform(self, low, high):
            return float(round(generator.uniform(low, high)))

    for seed in range(5):
        generator = np.random.default_rng(seed)
        sample = random_sample(prepared, 45, 10, STILL, WholePixels())
        replay = np.random.default_rng(seed)
        replay.integers(1)
        top, left = (round(replay.uniform(0, size - 1)) - 22 for size in frame.target.shape)
        rows, columns = mirror(range(top, top + 45), 30), mirror(range(left, left + 45), 36)
        assert np.allclose(sample.image[0], frame.image[0][np.ix_(rows, columns)], atol=1e-5)
        inner = np.ix_(rows[10:-10], columns[10:-10])
        assert np.array_equal(sample.target, frame.target[inner])
        assert np.allclose(sample.weight, frame.weight[inner], atol=1e-5)


def test_tiles_are_centred_on_annotated_pixels():
    frame = prepare(frames(), BALANCED, WeightMapConfig())[0][0]
    known = np.zeros_like(frame.weight)
    known[20:24, 5:8] = 1
    nothing = frame._replace(weight=np.zeros_like(frame.weight))
    for seed in range(20):
        generator = np.random.default_rng(seed)
        sample = random_sample([nothing, frame._replace(weight=known)], 45, 10, STILL, generator)
        assert sample.weight[12, 12] == 1


def test_the_margin_of_the_field_of_interest_has_no_weight():
    rows, columns = np.indices((60, 70))
    labels = np.zeros((60, 70), int)
    labels[np.hypot(rows - 30, columns - 14) < 10] = 1  # reaches out of the field
    frame = annotated_frame(rows.astype(np.uint8), labels, "0")
    config = dataclasses.replace(BALANCED, margin=15)
    weight = prepare([frame], config, WeightMapConfig())[0][0].weight
    assert weight[30, 5 : 70 - 15].all(), "the cell and what is around it, and the field"
    assert weight[30, 1], "5 pixels from the cell"
    assert not weight[:15, 40:].any()
    assert not weight[50, 10], "more than 8 pixels from the cell"
    assert prepare([frame], BALANCED, WeightMapConfig())[0][0].weight.all()


def test_without_cells_the_whole_margin_is_ignored():
    frame = annotated_frame(np.ones((60, 70), np.uint8), np.zeros((60, 70), int), "0")
    expected = np.ones((60, 70), bool)
    expected[15:-15, 15:-15] = False
    assert np.array_equal(in_field(frame, 15).ignore, expected)


@pytest.mark.parametrize(
    ("margin", "told"),
    [
        (-1, "the margin is -1 pixels: it must be at least 0"),
        (30, "no field of interest in plate7 of 60x70 pixels"),
    ],
)
def test_an_invalid_margin_is_refused(margin, told):
    frame = annotated_frame(np.ones((60, 70), np.uint8), np.ones((60, 70), int), "plate7")
    with pytest.raises(InputError, match=told):
        prepare([frame], dataclasses.replace(BALANCED, margin=margin), WeightMapConfig())


def test_unannotated_frames_are_refused():
    everything = np.ones((60, 70), bool)
    frame = annotated_frame(np.ones((60, 70), np.uint8), np.zeros((60, 70), int), "0", everything)
    with pytest.raises(InputError, match="nothing to learn"):
        prepare([frame], BALANCED, WeightMapConfig())


def test_one_frame_may_be_unannotated():
    known, unknown = frames()[0], frames(known=0)[0]
    prepared, classes = prepare([unknown, known], BALANCED, WeightMapConfig())
    assert not prepared[0].weight.any()
    assert classes == prepare([known], BALANCED, WeightMapConfig())[1]


def test_image_target_and_weight_are_deformed_alike():
    prepared, _ = prepare(frames(), BALANCED, WeightMapConfig())
    target = prepared[0].target
    frame = prepared[0]._replace(
        image=target[None].astype(np.float32), weight=target.astype(np.float32)
    )
    for seed in range(5):
        still_grey = AugmentationConfig(gain=0, offset=0)
        sample = random_sample([frame], 45, 10, still_grey, np.random.default_rng(seed))
        assert np.array_equal(sample.image[0, 10:-10, 10:-10], sample.target)

        linear_grey = dataclasses.replace(still_grey, interpolation="linear")
        sample = random_sample([frame], 45, 10, linear_grey, np.random.default_rng(seed))
        seen = sample.image[0, 10:-10, 10:-10]
        flat = (seen < 1e-5) | (seen > 1 - 1e-5)
        assert np.array_equal(seen[flat].round(), sample.target[flat])
        assert ((seen > 0) & (seen < 1)).any(), "the image is interpolated"
        assert np.array_equal(sample.weight, sample.target)


def test_grey_values_vary_by_gain_and_offset():
    prepared, _ = prepare(frames(known=30), BALANCED, WeightMapConfig())
    grey = AugmentationConfig(deformation_sigma=0, rotation=0)
    for seed in range(5):
        # Both draw the same random numbers.
        still = random_sample(prepared, 45, 10, STILL, np.random.default_rng(seed)).image
        varied = random_sample(prepared, 45, 10, grey, np.random.default_rng(seed)).image
        replay = np.random.default_rng(seed)
        replay.integers(1)
        replay.uniform(size=2)
        variation = draw(grey, replay)
        assert np.allclose(varied, still * variation.gain + variation.offset, atol=1e-5)
        assert abs(variation.gain - 1) > 1e-4


def test_the_error_for_nan_pixels_names_the_frame():
    labels = np.ones((8, 8), int)
    bad = annotated_frame(np.full((8, 8), np.nan), labels, "plate7")
    with pytest.raises(InputError, match=r"plate7 has .*NaN"):
        prepare([bad], BALANCED, WeightMapConfig())


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_linear_and_nearest_interpolation_match_scipy(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(2, height, width)).astype(np.float32)
    coordinates = rng.uniform(-60, 100, (2, 20, 30))
    expected = [ndimage.map_coordinates(c, coordinates, order=1, mode="mirror") for c in image]
    np.testing.assert_allclose(linear(image, coordinates), expected, atol=1e-3)
    labels = rng.integers(0, 255, (height, width), dtype=np.uint8)
    pixels = nearest(coordinates, labels.shape)
    expected = ndimage.map_coordinates(labels, coordinates, order=0, mode="mirror")
    np.testing.assert_array_equal(labels.ravel()[pixels], expected)


def test_positions_halfway_between_pixels_repeat_no_pixel():
    rows = np.arange(6) + 0.5
    assert nearest(np.stack([rows, 0 * rows]), (9, 1)).tolist() == [1, 2, 3, 4, 5, 6]


def test_linear_interpolation_is_accurate_in_large_frames():
    image = np.random.default_rng(0).normal(size=(1, 2048, 2048)).astype(np.float32)
    coordinates = np.random.default_rng(1).uniform(1000, 2047, (2, 200, 200))
    expected = ndimage.map_coordinates(image[0], coordinates, order=1, mode="mirror")
    np.testing.assert_allclose(linear(image, coordinates)[0], expected, atol=1e-3)


def test_tiles_keep_the_expected_share_of_noise():
    # Linear interpolation keeps 4/9 of the variance: the mean of (1 - x)^2 + x^2, once per axis.
    noise = np.random.default_rng(0).normal(size=(300, 300))
    frame = annotated_frame(noise, np.ones((300, 300), int), "a")
    prepared, _ = prepare([frame], BALANCED, WeightMapConfig())
    for interpolation, kept in ("linear", 4 / 9), ("nearest", 1):
        config = AugmentationConfig(gain=0, offset=0, interpolation=interpolation)
        tiles = [
            random_sample(prepared, 188, 92, config, np.random.default_rng(n)) for n in range(9)
        ]
        assert np.mean([tile.image.var() for tile in tiles]) == pytest.approx(kept, abs=0.02)
