"""Largest difference between prediction tile by tile, file to file, and of the image in one piece.

    python experiments/check_seams.py [--shape 2000 3000] [--base-channels 16] [--tiles 572 ...]
        [--output experiments/results/check_seams.json]

The image is random, 16-bit, a tiled BigTIFF. It goes through the network in one piece, continued by
mirroring as in Fig. 2 of the paper; ``unet2015 predict`` predicts the same file with tiles of each
given size and of the size that it chooses. Both use channels-last memory. In PyTorch's default
memory format, other kernels add in another order; how much that alone changes the result in one
piece is reported, and how much NNPACK differs, tile by tile. Weights are random: they show a seam
as well as trained ones, and ten times as much rounding as the models of the package.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from results_table import HERE

from unet2015.checkpoint import Model, save_model
from unet2015.engines import nnpack
from unet2015.engines.backends import Backend
from unet2015.images import read_image
from unet2015.normalisation import normalise
from unet2015.unet import UNet

GOAL = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=2, default=(2000, 3000))
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--tiles", type=int, nargs="*", default=[572])
    parser.add_argument("--output", type=Path, default=HERE / "results" / "check_seams.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Model(UNet(base_channels=options.base_channels).eval(), "standard")
    image = np.random.default_rng(0).integers(0, 4096, options.shape, dtype=np.uint16)
    plain = predict_whole(image, model)
    model.network.to(memory_format=torch.channels_last)  # as `unet2015 predict` does
    whole = predict_whole(image, model)
    found = {"shape": list(options.shape), "channels": options.base_channels, "goal": GOAL}
    found["probability_range"] = [float(whole.min()), float(whole.max())]
    found["difference_of_memory_formats"] = float(np.abs(plain - whole).max())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_model(folder / "model", model)
        tifffile.imwrite(folder / "image.tif", image, bigtiff=True, tile=(256, 256))
        for tile in [None, *options.tiles]:
            tiled = predict_file(folder, tile)
            name = f"difference_with_tile_{tile or 'chosen'}"
            found[name] = float(np.abs(tiled - whole).max())
        if nnpack.is_available():
            tiled = predict_file(folder, None, "nnpack")
            found["difference_with_nnpack"] = float(np.abs(tiled - whole).max())
    print(json.dumps(found, indent=1))
    options.output.write_text(json.dumps(found, indent=1) + "\n")


def predict_whole(image: NDArray[np.uint16], model: Model) -> NDArray[np.float32]:
    network = model.network
    after = [network.valid_input_size(size) - size - network.border for size in image.shape]
    padding = [(network.border, more) for more in after]
    mirrored = np.pad(normalise(image[None], model.normalisation)[0], padding, mode="reflect")
    with torch.inference_mode():
        logits = network(torch.from_numpy(mirrored)[None, None])[0]
        probability = torch.softmax(logits, dim=0)[1].numpy()
    return probability[: image.shape[0], : image.shape[1]]


def predict_file(folder: Path, tile: int | None, backend: Backend = "torch") -> NDArray[np.float32]:
    result = folder / f"{backend}-{tile}.tif"
    args = ["predict", folder / "image.tif", "-m", folder / "model", "-o", result]
    args += ["--precision", "float32", "--backend", backend, *(["--tile", tile] if tile else [])]
    subprocess.run([sys.executable, "-m", "unet2015", *map(str, args)], check=True)
    return read_image(result)


if __name__ == "__main__":
    main()
