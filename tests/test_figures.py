"""Fig. 1 is drawn from what the network computes."""

from pathlib import Path

import pytest

from unet2015.unet import UNet

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.mark.skipif(
    not EXPERIMENTS.is_dir(), reason="the experiments are not part of this installation"
)
def test_figure_1_has_the_channels_and_sizes_of_the_paper(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    from draw_figures import maps_of

    maps = maps_of(UNet())
    left = [(m.level, m.channels, m.size) for m in maps[:15]]
    assert left[:3] == [(0, 1, 572), (0, 64, 570), (0, 64, 568)]
    assert left[-3:] == [(4, 512, 32), (4, 1024, 30), (4, 1024, 28)]
    joined = [(m.channels, m.size) for m in maps if m.made_by == "copy and crop"]
    assert joined == [(1024, 56), (512, 104), (256, 200), (128, 392)]
    assert (maps[-1].channels, maps[-1].size) == (2, 388)
    layers = ("conv 3x3, ReLU", "up-conv 2x2", "conv 1x1")
    assert sum(m.made_by in layers for m in maps) == 23  # Sec. 2: "In total the network has 23"
