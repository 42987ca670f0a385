import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet2015 import InputError
from unet2015.tiles import ArraySource, TileGrid, mirror, read_mirrored

grids = st.builds(
    lambda shape, output, border, step: TileGrid(
        shape, (max(output[0], step), max(output[1], step)), border, step
    ),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.integers(0, 40),
    st.sampled_from([1, 2, 4, 16]),
)


@given(grids)
def test_every_pixel_is_written_once_from_offsets_aligned_to_the_step(grid):
    written = np.zeros(grid.shape, int)
    tiles = list(grid)
    for tile in tiles:
        assert tile.top % grid.step == tile.left % grid.step == 0
        assert 1 <= tile.height <= grid.output[0]
        assert 1 <= tile.width <= grid.output[1]
        written[tile.write] += 1
    assert (written == 1).all()
    assert len(grid) == len(tiles)


def test_no_tile_is_superfluous():
    assert len(TileGrid((20, 52), (20, 20), 92, 16)) == 1 * 3  # strides of 16 leave 4 pixels
    assert len(TileGrid((21, 53), (20, 20), 92, 16)) == 2 * 4


@given(grids)
def test_a_tile_reads_its_output_and_the_border_around_it(grid):
    for tile in grid:
        rows, columns = grid.read(tile)
        assert (rows.start, columns.start) == (tile.top - grid.border, tile.left - grid.border)
        assert (len(rows), len(columns)) == grid.input


@given(size=st.integers(1, 12), before=st.integers(0, 60), after=st.integers(0, 60))
def test_mirroring_equals_numpy_reflect_padding(size, before, after):
    expected = np.pad(np.arange(size), (before, after), mode="reflect" if size > 1 else "edge")
    assert mirror(range(-before, size + after), size).tolist() == expected.tolist()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    start=st.tuples(st.integers(-30, 20), st.integers(-30, 20)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_reading_beyond_the_image_gives_the_padded_image(shape, start, size):
    image = np.arange(2 * shape[0] * shape[1]).reshape(2, *shape)
    far = [(60, 60) for _ in shape]
    padded = image
    for axis, width in enumerate(far, 1):
        mode = "reflect" if shape[axis - 1] > 1 else "edge"
        padded = np.pad(padded, [(0, 0) if a != axis else width for a in range(3)], mode=mode)
    rows, columns = (range(s, s + n) for s, n in zip(start, size, strict=True))
    expected = padded[:, 60 + rows.start : 60 + rows.stop, 60 + columns.start : 60 + columns.stop]
    assert np.array_equal(read_mirrored(ArraySource(image), rows, columns), expected)


def test_only_the_needed_part_is_read():
    class Watched(ArraySource):
        def read(self, rows, columns):
            assert (rows, columns) == (slice(89, 100), slice(0, 6))
            return super().read(rows, columns)

    source = Watched(np.zeros((1, 100, 100)))
    read_mirrored(source, range(90, 110), range(-5, 3))


def test_too_small_tiles_and_empty_images_are_refused():
    with pytest.raises(InputError, match="larger tile"):
        TileGrid((100, 100), (4, 4), 92, 16)
    with pytest.raises(InputError, match="larger tile"):
        TileGrid((100, 100), (4, 20), 92, 16)
    with pytest.raises(InputError, match="nothing to predict"):
        TileGrid((0, 100), (20, 20), 92, 16)
