"""Speed of tiled prediction in megapixels per second, always with the same network.

    python experiments/benchmark_prediction.py [--device cpu] [--base-channels 16 64]
        [--sides 2048 1430] [--output experiments/results/benchmark_prediction.json]

Compared in float32 and, where the device supports it, in bfloat16 (loop and monai by autocast):

loop      tiles of 572 x 572 pixels one by one, in plain PyTorch
monai     MONAI's `sliding_window_inference`, if installed: windows of 572 x 572, its default
          overlap of 0.25, the network padded to keep the window's size, so that it sees 756 x 756;
          and with an overlap of 0.5 and Gaussian weights, a common choice
unet2015  `unet2015.predict` after `unet2015.keep_memory`, as on the command line
nnpack    the same with wide convolutions computed by NNPACK, in float32 on a CPU
openvino  the same through OpenVINO, if installed, on a CPU; compile time excluded
compile   the same through torch.compile, if there is a compiler; compile time excluded
kept      the loop, and MONAI with its defaults, also after `unet2015.keep_memory`

The profile breaks down the time of `unet2015`. The limit is the time of the multiplications alone,
1.465 MFLOP per pixel at 64 channels, at the rate of a matrix product measured in the same run with
the faster of two libraries; the borders of tiles come on top. NNPACK may exceed it, since it saves
multiplications. Images come from host memory and results go back there, also with a GPU
(`--device cuda --base-channels 16 64 64 --sides 8192 8192 512`). Each network size and precision
runs in its own process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fallbacks import refuse_fallbacks
from numpy.typing import NDArray
from profiling import shares
from results_table import HERE
from torch import Tensor, nn

from unet2015.checkpoint import Model
from unet2015.engines.allocation import keep_memory
from unet2015.engines.backends import Backend, can_compile
from unet2015.engines.device import DeviceName, Engine, Precision, choose_engine
from unet2015.prediction import predict
from unet2015.unet import UNet

FLOP = 1.465e6
"""Floating-point operations per output pixel at 64 channels, on large tiles."""
TILE = 572

Method = Callable[[NDArray[np.float32]], object]


class SameSize(nn.Module):
    """A network of valid convolutions, made to keep the image's size by mirror padding."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the same size as the image."""
        border = self.network.border
        more = [self.network.valid_input_size(s) - s - border for s in image.shape[-2:]]
        padded = nn.functional.pad(image, (border, more[1], border, more[0]), mode="reflect")
        return self.network(padded)[..., : image.shape[-2], : image.shape[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--base-channels", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 1430])
    parser.add_argument("--output", type=Path, help="benchmark_prediction[_cuda].json in results/")
    options = parser.parse_args()
    name = "benchmark_prediction" + "_cuda" * (options.device == "cuda")
    output = options.output or HERE / "results" / f"{name}.json"
    precisions = sorted({"float32", choose_engine(options.device).precision}, reverse=True)
    cases = product(zip(options.base_channels, options.sides, strict=True), precisions)
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
        "load_at_start": round(os.getloadavg()[0], 2),
    }
    spawning = get_context("spawn")
    with ProcessPoolExecutor(1, spawning, max_tasks_per_child=1) as pool:
        runs = [pool.submit(compare, *size, options.device, kind) for size, kind in cases]
        found["runs"] = []
        for run in runs:
            found["runs"].append(run.result())
            output.write_text(json.dumps(found, indent=1) + "\n")  # a later run may fail


def compare(channels: int, side: int, device: DeviceName, precision: Precision) -> dict[str, Any]:
    """Measure all methods on an image of side x side pixels."""
    refuse_fallbacks()
    engine = choose_engine(device, precision)
    torch.manual_seed(0)
    network = UNet(base_channels=channels).eval()
    engine.place(network)  # before all measurements: float32 on a GPU turns TF32 off
    rates = [matrix_rate(engine)]
    run: dict[str, Any] = {"channels": channels, "side": side, "precision": precision}
    image = np.random.default_rng(0).random((side, side), dtype=np.float32)

    def record(name: str, method: Method) -> None:
        try:
            run[name] = round(side**2 / 1e6 / measure(method, image), 3)
        except RuntimeError as error:  # a failing backend does not stop the others
            run[name] = f"failed: {error}"[:300]
        what = f"{channels} channels, {precision}, {name}"
        print(f"{what}: {run[name]} megapixels per second", flush=True)

    others = other_methods(network, engine)
    for name, method in others.items():
        record(name, method)
    keep_memory()
    ours = our_methods(network, engine)
    for name, method in ours.items():
        record(name, method)
    for name in ("loop", "monai"):
        if name in others:
            record(f"{name}, kept", others[name])
    rates.append(matrix_rate(engine))
    run["matrix_gflop_per_second"] = round(max(rates) / 1e9, 1)
    run["limit"] = round(max(rates) / (FLOP * (channels / 64) ** 2) / 1e6, 3)
    run["profile"] = shares(lambda: ours["unet2015"](image), engine.device)
    return run


def our_methods(network: UNet, engine: Engine) -> dict[str, Method]:
    """Tiled prediction of this package, through each installed backend."""
    model = Model(network, "standard")
    backends: dict[str, Backend] = {"unet2015": "torch"}
    if engine.can_use_nnpack:
        backends["nnpack"] = "nnpack"
    if engine.can_use_openvino:
        backends["openvino"] = "openvino"
    if can_compile(engine.device):
        backends["compile"] = "compile"
    return {
        name: partial(predict, model=model, engine=engine._replace(backend=backend))
        for name, backend in backends.items()
    }


def other_methods(network: UNet, engine: Engine) -> dict[str, Method]:
    """The plain loop and, if installed, MONAI."""
    methods: dict[str, Method] = {"loop": lambda image: loop(network, engine, image)}
    if importlib.util.find_spec("monai"):
        from monai.inferers import sliding_window_inference

        def monai(image: NDArray[np.float32], **settings: Any) -> None:
            use_default_format(network, engine)
            with torch.inference_mode(), engine.autocast():
                pixels = torch.from_numpy(image)[None, None].to(engine.device)
                windows = (TILE, TILE), 1, SameSize(network)
                sliding_window_inference(pixels, *windows, **settings).cpu()

        methods["monai"] = monai
        methods["monai, half overlap"] = lambda image: monai(image, overlap=0.5, mode="gaussian")
    return methods


def loop(network: UNet, engine: Engine, image: NDArray[np.float32]) -> None:
    """Predict tile by tile, and nothing else."""
    use_default_format(network, engine)
    border, output = network.border, network.output_size(TILE)
    mirrored = np.pad(image, [(border, border + output)] * 2, mode="reflect")
    with torch.inference_mode(), engine.autocast():
        for top in range(0, image.shape[0], output):
            for left in range(0, image.shape[1], output):
                tile = mirrored[top : top + TILE, left : left + TILE]
                network(torch.from_numpy(tile)[None, None].to(engine.device)).cpu()


def use_default_format(network: UNet, engine: Engine) -> None:
    """Move the network to its device in PyTorch's default memory format."""
    network.to(engine.device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def measure(method: Method, image: NDArray[np.float32]) -> float:
    """Seconds of the fastest run after a warm-up: of two, or of more if they are short."""
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < 2:
        start = time.perf_counter()
        method(image)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def matrix_rate(engine: Engine) -> float:
    """Floating-point operations per second of a matrix product, with the faster library.

    A 1x1 convolution is a matrix product, too. On AMD processors, oneDNN, which computes it, is
    more than twice as fast in float32 as MKL, which multiplies PyTorch's matrices.
    """
    rows, columns = (64, 128) if engine.device.type == "cuda" else (40, 50)
    size = rows * columns
    matrix = torch.randn(size, size).to(engine.device, engine.dtype)
    image = matrix.view(1, rows, columns, size).permute(0, 3, 1, 2)  # channels last
    kernel = matrix.view(size, size, 1, 1)
    seconds = []
    ways = (lambda: matrix @ matrix, lambda: nn.functional.conv2d(image, kernel))
    for multiply in 8 * ways:
        start = time.perf_counter()
        result = multiply()
        result[(0,) * result.ndim].item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


if __name__ == "__main__":
    main()
