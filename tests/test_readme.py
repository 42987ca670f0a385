import json
import re
import sys
from functools import reduce
from importlib.machinery import ModuleSpec
from operator import getitem
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unet2015 import load_model, predict, save_model
from unet2015.checkpoint import Model
from unet2015.cli import COMMANDS
from unet2015.commands.completion import flags
from unet2015.exchange import Probabilities
from unet2015.schedule import TrainingConfig
from unet2015.settings import Settings
from unet2015.unet import UNet, UNetConfig

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)  # with others rounding differs by up to 7e-6
    (tmp_path / "runs/u373").mkdir(parents=True)
    save_model("runs/u373/model.safetensors", Model(UNet(base_channels=2), "standard"))
    labels = np.zeros((40, 50), np.uint16)
    labels[5:20, 5:20], labels[5:20, 20:30] = 1, 2
    image = np.random.default_rng(0).integers(0, 255, labels.shape, dtype=np.uint8)
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    out = np.zeros((2, *labels.shape), np.float32)
    array = image[None].astype(np.float32)
    model = load_model("runs/u373")
    network_of_the_file = Probabilities(model.network)

    class Session:
        """What ONNX Runtime makes of the network; exporting it would take long."""

        def __init__(self, path):
            assert path == "u373.onnx"

        def run(self, _names, inputs):
            with torch.inference_mode():
                return [network_of_the_file(torch.from_numpy(inputs["image"])).numpy()]

    # PyTorch asks for the specification of whatever is called onnxruntime.
    fake = SimpleNamespace(InferenceSession=Session, __spec__=ModuleSpec("onnxruntime", None))
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    tiny = Settings(UNetConfig(base_channels=2), TrainingConfig(tile=204, iterations=1))
    monkeypatch.setattr("unet2015.settings.Settings", lambda: tiny)
    names = {"labels": labels, "image": image, "network": network, "out": out, "array": array}
    names["mine"] = [("cells", image, labels)]
    for block in blocks("python"):
        exec(block, names)
    assert names["weights"].shape == names["target"].shape == labels.shape
    assert names["cells"].shape == labels.shape
    assert out.any(axis=0).all()
    assert (tmp_path / "runs/mine/model.safetensors").exists()
    np.testing.assert_allclose(names["cell"], predict(image, model)[1], atol=1e-5)


def test_the_commands_of_the_readme_exist():
    lines = [line for block in blocks("sh") for line in re.split(r"\n|&&", block)]
    used = {line.split()[1] for line in lines if line.strip().startswith("unet2015 ")}
    assert used
    assert used <= set(COMMANDS)


def test_the_options_of_the_readme_exist():
    text = re.sub(r"\\\n", " ", "\n".join(blocks("sh")))
    for line in re.split(r"\n|&&", text):
        if line.strip().startswith("unet2015 "):
            command = line.split()[1]
            given = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", line))
            assert given <= {*flags(command), "-m", "-o"}, line


@pytest.mark.skipif(not (README.parent / "experiments").is_dir(), reason="no experiments here")
def test_the_speeds_of_the_readme_are_those_of_the_committed_benchmark():
    results = json.loads(
        (README.parent / "experiments/results/benchmark_prediction.json").read_text()
    )
    names = ("channels", "precision", "unet2015", "openvino", "loop", "monai")
    names += ("monai, half overlap", "limit")
    text = " ".join(README.read_text().split())
    for run in results["runs"]:
        row = " | ".join(str(run[name]) for name in names)
        assert f"| {row} |" in text
    training = json.loads(
        (README.parent / "experiments/results/benchmark_training.json").read_text()
    )
    share = training["iterations_per_second"]["share"]
    assert f"Training reached {100 * share:.0f} % of the iterations of a bare loop" in text
    for name in ("loop, kept", "monai, kept"):
        exact = [run[name] for run in results["runs"] if run["precision"] == "float32"]
        assert " and ".join(map(str, exact)) in text


def rows_of(head):
    """Cells of the rows of a table, given how it begins."""
    table = README.read_text().partition(head)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


@pytest.mark.skipif(not (README.parent / "experiments").is_dir(), reason="no experiments here")
def test_the_results_of_the_readme_are_those_of_its_runs():
    folder = README.parent / "experiments/results/reproduction"

    def seg(run, *line):
        results = [json.loads((folder / f"{run.format(n)}.json").read_text()) for n in ("01", "02")]
        if line and not all(line[0] in result for result in results):
            return None
        return sum(reduce(getitem, line, result)["SEG"] for result in results) / 2

    def agree(figure, value):
        return figure == "" if value is None else figure == f"{value:.{len(figure) - 2}f}"

    silver = "hela-{}-silver-16-margin50-rotation15-iterations9000-dropout0.1-linear-bfloat16"
    nearest = silver.replace("-linear", "")
    wide = "hela-{}-silver-32-tile380-margin50-rotation15-dropout0.1-linear-bfloat16"
    runs = [
        "u373-{}-16-tile380-margin50-dropout0.1-bfloat16",
        "u373-{}-16-tile380-margin50-dropout0.1-linear-bfloat16",
        "u373-{}-16-margin50-iterations9000-dropout0.1-linear-bfloat16",
        "u373-{}-silver-16-tile380-margin50-dropout0.1-bfloat16",
        "u373-{}-silver-16-tile380-margin50-dropout0.1-linear-bfloat16",
        "hela-{}-16-tile380-margin50-rotation15-iterations9000-dropout0.1-bfloat16",
        "hela-{}-16-tile380-margin50-rotation15-iterations9000-dropout0.1-linear-bfloat16",
        nearest,
        silver,
        silver.replace("9000", "18000"),
        wide,
        wide.replace("-dropout", "-iterations12000-dropout"),
        wide.replace("-32-", "-64-"),
        wide.replace("-32-", "-64-").replace("-dropout0.1", ""),
    ]
    rows = [row for row in rows_of("| cells | truth |") if row[1] != "*paper*"]
    for run, row in zip(runs, rows, strict=True):
        result = json.loads((folder / f"{run.format('01')}.json").read_text())
        training = result["settings"]["training"]
        assert row[:2] == [
            {"u373": "U373", "hela": "HeLa"}[run[:4]],
            "gold + silver" if "silver" in run else "gold",
        ]
        dropout = result["settings"]["network"]["dropout"]
        assert row[2:6] == [
            f"{result['base_channels']}" + ", drop-out 0.5" * (dropout == 0.5),
            str(training["tile"]),
            f"{training['iterations']:,}",
            result["settings"]["augmentation"]["interpolation"],
        ]
        assert result["precision"] == "bfloat16"
        values = [seg(run), seg(run, "mirrored"), seg(run, "parted_at_necks")]
        assert all(agree(*pair) for pair in zip(row[6:], values, strict=True)), (row, values)

    text = " ".join(README.read_text().split())
    gold = [run for run in runs if "silver" not in run and "tile380" in run and "linear" in run]
    for run, name in zip(gold, ("U373, tile 380", "HeLa"), strict=True):
        other = run.replace("-linear", "-seed1-linear")
        values = [seg(other), seg(other, "mirrored"), seg(other, "parted_at_necks")]
        told = ", ".join(f"{value:.3f}" for value in values)
        assert f"{told} ({name})" in text

    (alone,) = folder.glob("em-?-16-iterations12000-dropout0.1-bfloat16.json")
    nearest, linear = (
        json.loads((folder / name).read_text())
        for name in (alone.name, alone.name.replace("-bfloat16", "-linear-bfloat16"))
    )
    of_both = [f"{run['best']['rand_error']['value']:.3f}" for run in (nearest, linear)]
    assert " instead of ".join(of_both) in text
    at_half = [f"{run['argmax']['rand_error']:.3f}" for run in (nearest, linear)]
    assert ", where it was ".join(at_half) in text

    def best(recipe, name):
        paths = [
            folder / f"em-{n}-16-{recipe}-dropout0.1-linear-bfloat16.json" for n in range(1, 6)
        ]
        return fmean(json.loads(path.read_text())["best"][name]["value"] for path in paths)

    errors = ("pixel_error", "pixel_f_error", "rand_error", "splits_and_mergers")
    measures = (*errors, "v_rand", "v_info")
    for name, row in zip(measures, rows_of("| ISBI 2012 EM, 16 channels"), strict=True):
        assert name == "v_rand" or agree(row[1], best("tile380", name)), row
        assert agree(row[2], best("iterations12000", name)), row


@pytest.mark.skipif(not (README.parent / "experiments").is_dir(), reason="no experiments here")
def test_the_ablation_of_the_readme_is_that_of_its_runs():
    folder = README.parent / "experiments/results/ablation"

    def mean(pattern, *line):
        results = [
            json.loads(path.read_text()) for path in folder.glob(f"{pattern}-8-*1500-*-linear-*")
        ]
        assert len(results) == 6
        return f"{sum(reduce(getitem, line, r)['SEG'] for r in results) / 6:.2f}"

    rows = rows_of("| | U373 | HeLa | HeLa, parted at necks |")
    assert len(rows) == 5
    for title, *figures in rows:
        run = title.partition(",")[0].replace(" ", "-")
        hela = f"hela-0?-{run}"
        assert figures == [mean(f"u373-0?-{run}"), mean(hela), mean(hela, "parted_at_necks")]


@pytest.mark.skipif(not (README.parent / "experiments").is_dir(), reason="no experiments here")
def test_the_files_that_the_readme_shows_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert target.startswith("http") or (README.parent / target).exists(), target
