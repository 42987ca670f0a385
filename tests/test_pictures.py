import subprocess
import sys

import numpy as np
import pytest
from skimage.io import imread

from unet2015.pictures import draw_loss, to_grey
from unet2015.runs import LogLine


def log(*segs):
    return [LogLine(10 * n, 1 / (n + 1), 0.01, seg, 1.0, 0.0) for n, seg in enumerate(segs)]


def colours(path):
    return {tuple(pixel) for pixel in imread(path)[..., :3].reshape(-1, 3).tolist()}


@pytest.mark.parametrize("seg", [None, 0.5])
def test_the_loss_curve_shows_the_validation_score_if_present(tmp_path, seg):
    draw_loss(tmp_path / "loss.png", log(None, seg, seg))
    seen = colours(tmp_path / "loss.png")
    assert (217, 95, 2) in seen
    assert ((27, 158, 119) in seen) == (seg is not None)


def test_stretching_grey_values_ignores_extremes():
    image = np.arange(1000.0).reshape(20, 50)
    image[0, 0] = -1e9
    stretched = to_grey(image)
    assert (stretched.min(), stretched.max()) == (0, 1)
    assert stretched[10, 0] == pytest.approx(0.5, abs=0.02)
    assert not to_grey(np.full((3, 3), 7)).any()
    assert not to_grey(np.full((3, 3), np.nan)).any()
    known = np.arange(6.0).reshape(2, 3)
    with_nan = np.append(known, [[np.nan] * 3], axis=0)
    np.testing.assert_array_equal(to_grey(with_nan)[:2], to_grey(known))
    assert not to_grey(with_nan)[2].any()


def test_drawing_does_not_import_torch():
    program = "import sys, unet2015.pictures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
