"""How large the tiles of an image should be, by a model of their cost and by the free memory.

A tile recomputes the border that it shares with its neighbours. With b pixels of border and an
output of n x n pixels, a U-Net does about 1 + 1.4 b / n times the work of an infinite tile for each
pixel of output (counted for depths 1 to 5; 1.36 times for the paper's 388). Larger tiles waste
less, but their maps outgrow a CPU's caches and take memory. So tiles are about as small as a given
waste allows, all of one size.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from .engines.allocation import kept_memory
from .errors import InputError
from .tiles import TileGrid
from .unet import UNet

WASTE, GPU_WASTE = 0.15, 0.05
"""Work wasted on recomputing borders, relative to the rest, at the preferred tile size. A GPU has
the memory for large tiles and needs them to be busy."""
WASTE_PER_BORDER = 1.4
LEAST_OUTPUT = 768
"""Smallest preferred output in pixels: smaller tiles are not worth the calls."""
MEMORY_SHARE = 0.4
"""Share of the free memory that the feature maps of a tile may take."""
BYTES_PER_CHANNEL = 4 * 10
"""Memory for each input pixel and base channel. It peaks at the last level of the expanding path:
the skip, its concatenation with the up-convolution's map and two results, with the skips of the
other levels about six float32 maps in all, and up to ten with the fragmentation by `keep_memory` or
the memory that NNPACK works in (measured at depth 4; NNPACK takes up to 16 at less)."""
LARGEST_MAP = 2**31 - 1
"""Most elements of a map: GPU libraries index them with 32 bits."""
WIDEST_MAP = 3
"""Channels of the widest map, the last concatenation of ``preset="release"``, per base channel."""
CONTAINERS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files under /sys/fs/cgroup with a container's memory limit, usage and statistics, and the
statistic that counts reclaimable copies of files; for cgroup v2 and v1."""
CPU = torch.device("cpu")


def tile_grid(
    shape: tuple[int, ...],
    network: UNet,
    tile: int | None = None,
    device: torch.device = CPU,
    processes: int = 1,
) -> TileGrid:
    """Cut an image of a given height and width into tiles for a U-Net.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    network : UNet
        Determines border, step and valid sizes.
    tile : int, optional
        Height and width of the network's input in pixels; by default chosen by cost and free
        memory.
    device : torch.device
        Where the network runs, and whose free memory counts.
    processes : int
        Processes that run the network at once on this machine and share its memory.

    Raises
    ------
    InputError
        If `tile` is not a valid input size, or its output too small to move by a step.
    """
    height, width = shape
    if tile is not None:
        least = network.valid_input_size(network.step)
        if tile < least:
            raise InputError(f"tiles of {tile} pixels are too small: use at least {least}.")
        output = (network.output_size(tile),) * 2
    else:
        largest = _largest_output(network, _free_memory(device) // processes)
        waste = WASTE if device.type == "cpu" else GPU_WASTE
        wanted = max(math.ceil(WASTE_PER_BORDER / waste * network.border), LEAST_OUTPUT)
        output = (
            _output_for(height, network, wanted, largest),
            _output_for(width, network, wanted, largest),
        )
    return TileGrid((height, width), output, network.border, network.step)


def _output_for(size: int, network: UNet, wanted: int, largest: int) -> int:
    """Output size, near `wanted`, of equal tiles that just cover `size`; at most `largest`."""
    rest = _smallest_output(network) % network.step  # tiles move by their output minus this
    inside = max(size - rest, 1)
    count = max(round(size / wanted), math.ceil(inside / (largest - rest)))
    return math.ceil(inside / (count * network.step)) * network.step + rest


def _smallest_output(network: UNet) -> int:
    """Smallest output that can move by a step."""
    return network.valid_input_size(network.step) - 2 * network.border


def _largest_output(network: UNet, memory: int) -> int:
    """Largest output whose maps fit 32-bit indices and MEMORY_SHARE of some memory."""
    bytes_per_pixel = BYTES_PER_CHANNEL * network.config.base_channels
    countable = LARGEST_MAP // (WIDEST_MAP * network.config.base_channels)
    side = math.isqrt(min(int(MEMORY_SHARE * memory) // bytes_per_pixel, countable))
    smallest = _smallest_output(network)
    above = max(side - 2 * network.border - smallest, 0)
    return smallest + above // network.step * network.step


def _free_memory(device: torch.device) -> int:
    """Bytes of free memory, within a container's limit; 4 GiB where that is unknown."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = dict(line.split(":") for line in lines)["MemAvailable"]
        return min(int(free.split()[0]) * 1024, _free_in_container()) + kept_memory()
    except (OSError, KeyError):
        return 4 * 2**30


def _free_in_container(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this container may still use; 2**63 without a container or limit."""
    for limit, used, parts, copies in CONTAINERS:
        if not (folder / limit).exists():
            continue
        most = (folder / limit).read_text().strip()
        if most == "max":
            return 2**63
        try:
            taken = int((folder / used).read_text())
            lines = (folder / parts).read_text().splitlines()
            return max(0, int(most) - taken + int(dict(map(str.split, lines)).get(copies, 0)))
        except OSError:
            return int(most)
    return 2**63
