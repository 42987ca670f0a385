"""How large the tiles of an image should be: a model of their cost, and the memory that is free.

A tile recomputes the border that it shares with its neighbours. With b pixels of border and an
output of n x n pixels, a U-Net computes about 1 + 1.4 b / n times what an endless tile would for
each pixel of output (counted for depths 1 to 5; 1.36 times for the paper's 388). Larger tiles waste
less, but their maps leave a CPU's caches and take memory. So tiles are about as small as a given
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
"""Share of the work that recomputes borders, for tiles of the size that is wanted. A GPU has the
memory for large tiles and needs them to be busy."""
WASTE_PER_BORDER = 1.4
LEAST_OUTPUT = 768
"""Smaller tiles are not worth the calls."""
MEMORY_SHARE = 0.4
"""Share of the free memory that the network's maps for one tile may take."""
BYTES_PER_CHANNEL = 4 * 10
"""Memory for a pixel of the input and a base channel. The widest moment is the last level of the
expanding path: the skip, the up-convolution's map, their concatenation and one result, six float32
in all, and up to ten with the gaps that `keep_memory` leaves (measured)."""
LARGEST_MAP = 2**31 - 1
"""Elements that a map may have: libraries for GPUs count them in 32 bits."""
WIDEST_MAP = 3
"""Channels of the widest map, the last concatenation of ``preset="release"``, by base channel."""
CONTAINERS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Where Linux tells a container, under /sys/fs/cgroup, how much memory it may use and does use, and
how much of that is copies of files (under the last name)."""
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
        Height and width of what the network sees at once; by default as large as pays and as the
        memory allows.
    device : torch.device
        Where the network runs: its memory counts.
    processes : int
        How many run the network at once on this machine and share its memory.

    Raises
    ------
    InputError
        If `tile` is not a valid input size that is large enough to move by a step.
    """
    height, width = shape
    if tile is not None:
        side = network.output_size(tile)
        if side < network.step:
            raise InputError(
                f"tiles of {tile} pixels cannot move in steps of {network.step}: the smallest that "
                f"can have {network.valid_input_size(network.step)}."
            )
        output = (side, side)
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
    """Output height or width of equal tiles that just cover `size`, near what is wanted."""
    rest = _smallest_output(network) % network.step  # tiles move by their output without this
    inside = max(size - rest, 1)
    count = max(round(size / wanted), math.ceil(inside / (largest - rest)), 1)
    return math.ceil(inside / (count * network.step)) * network.step + rest


def _smallest_output(network: UNet) -> int:
    """Smallest output that can move by a step."""
    return network.valid_input_size(network.step) - 2 * network.border


def _largest_output(network: UNet, memory: int) -> int:
    """Largest output whose maps can be counted and take no more than a share of some memory."""
    bytes_per_pixel = BYTES_PER_CHANNEL * network.config.base_channels
    countable = LARGEST_MAP // (WIDEST_MAP * network.config.base_channels)
    side = math.isqrt(min(int(MEMORY_SHARE * memory) // bytes_per_pixel, countable))
    smallest = _smallest_output(network)
    above = max(side - 2 * network.border - smallest, 0)
    return smallest + above // network.step * network.step


def _free_memory(device: torch.device) -> int:
    """Bytes of memory that are free, at most a container's limit; 4 GiB where nothing tells."""
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
    """Bytes of memory that this container may still use; as good as endless outside of one."""
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
