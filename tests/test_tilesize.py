"""Tiles: valid, covering the image, wasting little, and small if memory is short."""

from math import prod
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from unet2015.tilesize import (
    BYTES_PER_CHANNEL,
    CONTAINERS,
    MEMORY_SHARE,
    WASTE,
    _free_in_container,
    _free_memory,
    tile_grid,
)
from unet2015.unet import UNet


def work(network, size):
    """Multiplications of all convolutions for a tile, counted on the actual feature maps."""
    counted = []

    def count(module, inputs, output):
        taps = module.weight.numel() // module.out_channels
        seen = output if isinstance(module, nn.Conv2d) else inputs[0]
        per_pixel = taps if isinstance(module, nn.Conv2d) else module.weight.numel()
        channels = module.out_channels if isinstance(module, nn.Conv2d) else 1
        counted.append(per_pixel * channels * seen.shape[2] * seen.shape[3])

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    network(torch.empty(1, network.config.in_channels, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(counted)


def tile_grid_with_ample_memory(shape, network):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unet2015.tilesize._free_memory", lambda _: 2**40)
        return tile_grid(shape, network)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("side", [853, 1024, 1388, 2048, 100_000])
def test_default_tiles_waste_little(depth, side):
    network = UNet(base_channels=16, depth=depth).to("meta").eval()
    grid = tile_grid_with_ample_memory((side, side), network)
    endless = network.valid_input_size(100_000)
    per_pixel = work(network, endless) / network.output_size(endless) ** 2
    one_piece = work(network, network.valid_input_size(side)) / side**2
    found = len(grid) * work(network, grid.input[0]) / side**2
    rounding = 0.02  # tiles grow by whole steps
    assert found <= max((1 + 1.5 * WASTE + rounding) * per_pixel, one_piece)


def test_tiles_for_a_gpu_are_larger(monkeypatch):
    network = UNet()
    for gigabytes, expected in [(100, (2516, 2516)), (8, (916, 916))]:
        monkeypatch.setattr("unet2015.tilesize._free_memory", lambda _, n=gigabytes: n * 10**9)
        grid = tile_grid((20_000, 20_000), network, device=torch.device("cuda"))
        assert grid.output == expected


@pytest.mark.parametrize(("channels", "preset"), [(64, "release"), (256, "paper")])
def test_feature_maps_stay_within_32_bit_indices_on_a_gpu(monkeypatch, channels, preset):
    monkeypatch.setattr("unet2015.tilesize._free_memory", lambda _: 10**13)
    with torch.device("meta"):
        network = UNet(base_channels=channels, preset=preset)
    grid = tile_grid((3800, 3800), network, device=torch.device("cuda"))
    largest = []
    for module in network.modules():
        module.register_forward_pre_hook(lambda _, maps: largest.append(maps[0].numel()))
    network.eval()(torch.empty(1, 1, *grid.input, device="meta"))
    assert max(largest) < 2**31


def test_the_waste_of_the_paper_s_tile_is_36_percent():
    network = UNet().to("meta").eval()
    endless = network.valid_input_size(100_000)
    waste = (
        work(network, 572) / 388**2 / (work(network, endless) / network.output_size(endless) ** 2)
    )
    assert waste == pytest.approx(1.36, abs=0.02)


@given(st.integers(1, 5000), st.integers(1, 5000))
@example(1288, 1)
@example(1, 1289)
@settings(max_examples=30)
def test_default_tiles_are_valid_and_a_small_image_is_one_tile(height, width):
    network = UNet(base_channels=4)
    grid = tile_grid_with_ample_memory((height, width), network)
    for size in grid.input:
        network.output_size(size)
    assert (len(grid) == 1) == (max(height, width) < 1.5 * 859)  # the output of a tile, by cost


def test_little_memory_makes_small_tiles(monkeypatch):
    monkeypatch.setattr("unet2015.tilesize._free_memory", lambda _: 200 * 2**20)
    network = UNet(base_channels=16)
    grid = tile_grid((3000, 2000), network)
    assert BYTES_PER_CHANNEL * 16 * prod(grid.input) <= MEMORY_SHARE * 200 * 2**20
    monkeypatch.setattr("unet2015.tilesize._free_memory", lambda _: 0)
    assert tile_grid((3000, 2000), network).output == (20, 20)


def test_processes_share_the_memory(monkeypatch):
    monkeypatch.setattr("unet2015.tilesize._free_memory", lambda _: 800 * 2**20)
    network = UNet(base_channels=16)
    shared = tile_grid((3000, 2000), network, processes=4)
    monkeypatch.setattr("unet2015.tilesize._free_memory", lambda _: 200 * 2**20)
    assert shared.output == tile_grid((3000, 2000), network).output


def test_the_memory_of_the_device_limits_the_tile(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (150 * 2**20, 2**40))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 80 * 2**20)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: 30 * 2**20)
    assert _free_memory(torch.device("cuda")) == 200 * 2**20
    gpu = tile_grid((3000, 2000), UNet(base_channels=16), device=torch.device("cuda"))
    assert BYTES_PER_CHANNEL * 16 * prod(gpu.input) <= MEMORY_SHARE * 200 * 2**20


@pytest.mark.parametrize(
    ("lines", "limit", "expected"),
    [
        ("MemFree: 9 kB\nMemAvailable:   3000 kB\n", 2**63, 3000 * 1024 + 5),
        ("MemFree: 9 kB\nMemAvailable:   3000 kB\n", 1000, 1000 + 5),
        ("", 1000, 4 * 2**30),
    ],
)
def test_the_free_memory_is_that_of_the_machine_and_the_container(
    monkeypatch, lines, limit, expected
):
    monkeypatch.setattr(Path, "read_text", lambda _: lines)
    monkeypatch.setattr("unet2015.tilesize._free_in_container", lambda: limit)
    monkeypatch.setattr("unet2015.tilesize.kept_memory", lambda: 5)
    assert _free_memory(torch.device("cpu")) == expected


@pytest.mark.parametrize("names", CONTAINERS)
def test_the_free_memory_of_a_container_is_respected(tmp_path, names):
    assert _free_in_container(tmp_path) > 2**60
    limit, used, parts = (tmp_path / name for name in names[:3])
    limit.parent.mkdir(exist_ok=True)
    limit.write_text("2147483648\n")
    assert _free_in_container(tmp_path) == 2**31
    used.write_text("1000000000\n")
    parts.write_text("anon 400\n")
    assert _free_in_container(tmp_path) == 2**31 - 1_000_000_000
    kinds = ("inactive_file", "total_inactive_file")
    lines = [f"{kind} {600_000_000 if kind == names[3] else 7}\n" for kind in kinds]
    parts.write_text("".join(["anon 400\n", *lines]))
    assert _free_in_container(tmp_path) == 2**31 - 400_000_000
    limit.write_text("max\n")
    assert _free_in_container(tmp_path) > 2**60
