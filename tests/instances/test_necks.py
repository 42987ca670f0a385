import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import disk

from unet2015.errors import InputError
from unet2015.instances import label_cells, necks
from unet2015.instances.components import EIGHT_NEIGHBOURS
from unet2015.instances.necks import part_at_necks


def discs(distance, radius=12, size=(60, 90)):
    y, x = np.ogrid[: size[0], : size[1]]
    return (np.hypot(y - 30, x - 30) <= radius) | (np.hypot(y - 30, x - 30 - distance) <= radius)


def test_a_neck_is_cut_only_where_it_is_narrowest():
    pair = discs(20)
    parted = part_at_necks(pair, 3)
    labels = label_cells(parted)
    assert labels.max() == 2
    assert not (parted & ~pair).any()
    _, columns = np.nonzero(pair & ~parted)
    assert ((columns >= 39) & (columns <= 41)).all()
    assert np.array_equal(parted[:, 45:], pair[:, 45:])


@pytest.mark.parametrize("turns", range(4))
def test_a_neck_at_one_side_of_its_cells_is_cut(turns):
    mask = np.zeros((90, 60), bool)
    mask[10:40, 10:40] = mask[46:76, 10:40] = mask[40:46, 30:40] = True
    assert label_cells(part_at_necks(np.rot90(mask, turns), 7)).max() == 2


def test_pixels_that_touch_a_cell_only_at_a_corner_stay():
    pair = discs(20)
    assert not pair[18:21, 23].any()
    pair[19, 23] = True
    assert part_at_necks(pair, 3)[19, 23]


@pytest.mark.parametrize(("depth", "parts"), [(1, 1), (7, 1), (8, 2), (12, 2)])
def test_only_deep_enough_necks_are_cut(depth, parts):
    bar = np.zeros((60, 160), bool)
    bar[10:41, 10:150] = True  # of constant width: many pixels are farthest from its edge
    bar[10 : 10 + depth, 75:85] = bar[41 - depth : 41, 75:85] = False
    assert label_cells(part_at_necks(bar, 7)).max() == parts


def test_slim_cells_and_cells_without_a_neck_stay_whole():
    slim = np.zeros((80, 200), bool)
    slim[3:8, 40:140] = slim[8, 140] = True  # touches the rest of it only at a corner
    stout = np.zeros((80, 200), bool)
    stout[10:70, 130:190] = True
    for mask in (slim, stout, slim | stout, np.ones((30, 30), bool), np.zeros((5, 5), bool)):
        assert np.array_equal(part_at_necks(mask, 2), mask)


def test_every_neck_of_a_chain_is_cut_in_any_direction():
    chain = np.zeros((130, 130), bool)
    for k in range(6):
        y, x = 20 + 17 * k, 20 + 17 * k
        chain[y - 14 : y + 15, x - 14 : x + 15] |= disk(14).astype(bool)
    for mask in (chain, chain[::-1], chain[:, ::-1].T):
        assert label_cells(mask).max() == 1
        assert label_cells(part_at_necks(mask, 2)).max() == 6


def test_cells_continue_beyond_the_image_edge():
    half = discs(20)[30:]
    assert label_cells(part_at_necks(half, 3)).max() == 2
    assert label_cells(part_at_necks(np.pad(half, 1), 3)).max() == 1


def peaks(distance, depth):
    """Find peaks from which every path to a higher one dips by more than `depth`, naively.

    Levels are visited from the highest down. Where peaks join at a level, all but the highest are
    dropped unless they rise above that level by more than `depth`.
    """
    found = []
    for level in np.unique(distance[distance > 0])[::-1]:
        joined, count = ndimage.label(distance >= level, EIGHT_NEIGHBOURS)
        for one in range(1, count + 1):
            here = [peak for peak in found if joined[peak] == one]
            if not here:
                found.append(tuple(np.argwhere(joined == one)[0]))
            highest = max(here, key=lambda peak: distance[peak], default=None)
            low = [p for p in here if p != highest and distance[p] <= level + depth]
            found = [peak for peak in found if peak not in low]
    return [peak for peak in found if distance[peak] > depth]


@given(
    smoothing=st.floats(1, 6),
    share=st.floats(0.2, 0.9),
    depth=st.floats(1, 3),
    seed=st.integers(0, 10**6),
)
@example(smoothing=1.0, share=0.40625, depth=1.0, seed=542875)  # its largest component is slim
@settings(max_examples=40)
def test_every_peak_gets_its_own_part(smoothing, share, depth, seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((50, 50)), smoothing)
    mask = noise <= np.quantile(noise, share)
    found = peaks(ndimage.distance_transform_edt(mask), depth)
    labels = label_cells(part_at_necks(mask, depth))
    whole = label_cells(mask)
    slim = set(range(1, whole.max() + 1)) - {whole[peak] for peak in found}
    assert len({labels[peak] for peak in found} - {0}) == len(found)
    assert labels.max() == len(found) + len(slim)
    for number in slim:
        assert (labels[whole == number] > 0).all()


def test_a_component_with_a_huge_box_stays_whole_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(necks, "LARGEST", 1000)
    assert np.array_equal(part_at_necks(discs(20), 3), discs(20))
    assert "stay whole: 1" in caplog.text


@pytest.mark.parametrize("shape", [(0, 5), (3, 4)])
def test_an_empty_mask_stays_unchanged(shape):
    assert np.array_equal(part_at_necks(np.zeros(shape, bool), 3), np.zeros(shape, bool))


@pytest.mark.parametrize("depth", [-1, float("nan"), float("inf")])
def test_an_invalid_depth_is_refused(depth):
    with pytest.raises(InputError, match="at least 0 pixels"):
        part_at_necks(discs(20), depth)
