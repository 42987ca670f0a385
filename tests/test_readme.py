import json
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unet2015 import WeightMapConfig, annotated_frame, load_model, predict, save_model
from unet2015.builtin import built_in_models
from unet2015.checkpoint import Model
from unet2015.cli import COMMANDS
from unet2015.commands.completion import flags
from unet2015.export.exchange import Probabilities
from unet2015.samples import prepare
from unet2015.schedule import TrainingConfig
from unet2015.settings import Settings
from unet2015.unet import UNet, UNetConfig

README = Path(__file__).parents[1] / "README.md"
EXPERIMENTS = README.parent / "experiments/README.md"
needs_experiments = pytest.mark.skipif(
    not (README.parent / "experiments").is_dir(), reason="no experiments here"
)


def prose(path=README):
    """The README as one line."""
    return " ".join(path.read_text().split())


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)  # with other seeds, rounding differs by up to 7e-6
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
        """Stand-in for ONNX Runtime, since exporting the network would take long."""

        def __init__(self, path):
            assert path == "u373.onnx"

        def run(self, _names, inputs):
            with torch.inference_mode():
                return [network_of_the_file(torch.from_numpy(inputs["image"])).numpy()]

    # PyTorch looks up the import spec of any module named onnxruntime.
    fake = SimpleNamespace(InferenceSession=Session, __spec__=ModuleSpec("onnxruntime", None))
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    tiny = Settings(UNetConfig(base_channels=2), TrainingConfig(tile=204, iterations=1))
    monkeypatch.setattr("unet2015.Settings", lambda **_: tiny)
    names = {"labels": labels, "image": image, "network": network, "out": out, "array": array}
    names["mine"] = [(image, labels, "cells")]
    names |= {"all_labels": [labels], "logits": torch.zeros(1, 2, 8, 8)}
    names |= {"target_tile": torch.ones(1, 8, 8).bool(), "weight_tile": torch.ones(1, 8, 8)}
    for block in blocks("python"):
        exec(block, names)
    assert names["weights"].shape == names["target"].shape == labels.shape
    frames = [annotated_frame(image, labels, "as in training")]
    (frame,), _ = prepare(frames, TrainingConfig(), WeightMapConfig())
    assert np.array_equal(names["weight_maps"][0], frame.weight)
    assert np.array_equal(names["targets"][0], frame.target)
    assert names["cells"].shape == labels.shape
    assert out.any(axis=0).all()
    assert (tmp_path / "runs/mine/model.safetensors").exists()
    np.testing.assert_allclose(names["cell"], predict(image, model)[1], atol=1e-5)


def test_the_commands_in_the_readme_exist():
    lines = [line for block in blocks("sh") for line in re.split(r"\n|&&", block)]
    used = {line.split()[1] for line in lines if line.strip().startswith("unet2015 ")}
    assert used
    assert used <= set(COMMANDS)


def test_the_options_in_the_readme_exist():
    text = re.sub(r"\\\n", " ", "\n".join(blocks("sh")))
    for line in re.split(r"\n|&&", text):
        if line.strip().startswith("unet2015 "):
            command = line.split()[1]
            given = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", line))
            assert given <= {*flags(command), "-m", "-o"}, line


@needs_experiments
def test_the_speeds_in_the_readme_match_the_benchmarks():
    results = README.parent / "experiments/results"
    files = {"AVX-512": "benchmark_prediction.json", "AVX2": "benchmark_prediction_avx2.json"}
    names = ("unet2015", "nnpack", "openvino", "loop", "monai", "monai, half overlap", "limit")
    measured = {}
    for processor, file in files.items():
        for run in json.loads((results / file).read_text())["runs"]:
            key = (str(run["channels"]), f"{processor}, {run['precision']}")
            measured[key] = run
    shown = {tuple(row[:2]): row[2:] for row in rows_of("| base channels | processor")}
    assert shown == {
        key: [str(run.get(name, "")) for name in names] for key, run in measured.items()
    }
    training = json.loads((results / "benchmark_training.json").read_text())
    share = training["iterations_per_second"]["share"]
    assert f"Training reached {100 * share:.0f} % of the iterations of a bare loop" in prose()
    details = prose(EXPERIMENTS)
    for name in ("loop, kept", "monai, kept"):
        kept = [measured[channels, "AVX-512, float32"][name] for channels in ("16", "64")]
        assert " and ".join(map(str, kept)) in details
    wide = measured["64", "AVX2, float32"]
    assert f"NNPACK is {wide['nnpack'] / wide['unet2015']:.1f} times as fast" in details


@needs_experiments
def test_the_speed_beside_monai_in_the_readme_follows_from_the_benchmark():
    file = README.parent / "experiments/results/benchmark_prediction.json"
    runs = {(r["channels"], r["precision"]): r for r in json.loads(file.read_text())["runs"]}

    def span(ours, theirs):
        ratios = [runs[a]["unet2015"] / runs[b][theirs] for a, b in zip(ours, runs, strict=True)]
        return f"{min(ratios):.1f} to {max(ratios):.1f} times"

    assert f"in the same precision {span(runs, 'monai')}, or {span(runs, 'monai, kept')}" in prose()
    usual = [runs[n, "bfloat16"]["unet2015"] / runs[n, "float32"]["monai"] for n in (16, 64)]
    assert f"{min(usual):.1f} to {max(usual):.1f} times as fast as MONAI" in prose()


@needs_experiments
def test_the_weight_map_speed_in_the_readme_matches_the_benchmark():
    found = json.loads((README.parent / "experiments/results/benchmark_weightmap.json").read_text())
    rows = [row for row in found["seconds_on_one_core"] if row["size"] == 2048]
    (row,) = (row for row in rows if 1900 < row["cells"] < 2000)
    text = prose()
    assert f"{2048**2 / row['ours'] / 1e6:.0f} megapixels per second on one core for 2,000" in text
    assert f"pixels, {row['local'] / row['ours']:.0f} times the speed of one SciPy" in text
    assert f"some {round(row['scipy'] / row['ours'], -2):,.0f} times that of one" in text


@needs_experiments
def test_the_engine_agreement_in_the_readme_matches_the_check():
    found = json.loads((README.parent / "experiments/results/check_engines.json").read_text())
    u373, hela, em = (found[name]["cpu, bfloat16"] for name in ("u373", "hela", "em"))
    text = prose(EXPERIMENTS)
    cells, frames = u373["cells"] + hela["cells"], 2 * found["frames"]
    assert u373["same"] + hela["same"] == cells
    assert f"find the same {cells} cells of {frames} frames" in text
    assert f"of the {em['cells']:,} pieces of {found['frames']} EM slices" in text
    changed = em["cells"] - em["same"]
    assert f"some of few pixels, {changed} change" in text
    assert f"some of few pixels, {changed / em['cells']:.0%} change".replace("%", " %") in prose()
    assert max(each["largest"] for each in (u373, hela, em)) <= 0.04
    assert max(each["mean"] for each in (u373, hela, em)) < 0.0005
    results = README.parent / "experiments/results"
    avx2 = json.loads((results / "check_engines_avx2.json").read_text())
    nnpack = [avx2[name]["cpu, float32, NNPACK"] for name in ("u373", "hela", "em")]
    assert max(each["largest"] for each in nnpack) < 2e-5
    assert "agree to 2e-5" in prose()
    assert "to 2e-5, with the same" in text
    assert not any(each["other_class"] for each in nnpack)
    seams = json.loads((results / "check_seams.json").read_text())
    apart = f"{seams['difference_with_nnpack']:.0e}".replace("e-0", "e-")
    assert f"([below](#how-fast)) by {apart}." in prose()


def rows_of(head):
    """Rows of cells of the table that begins with `head`."""
    table = README.read_text().partition(head)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


def table_of_results():
    """Rows of ``experiments/results.md``, by the names of the columns, with the data set."""
    found = []
    for line in (README.parent / "experiments/results.md").read_text().splitlines():
        if line.startswith("## "):
            data = line.removeprefix("## ")
        cells = [cell.strip("* ") for cell in line.split("|")[1:-1]]
        if "channels" in cells:
            columns = cells
        elif cells and cells[0] != "---":
            found.append({"data": data, **dict(zip(columns, cells, strict=True))})
    return found


def exact_seg(scored, run):
    """SEG of a run of the present recipe, which ``results.md`` has with four decimals."""
    steps = "" if run["iterations"] == "6000" else f"-iterations{run['iterations']}"
    seed = "" if run["seed"] == "0" else f"-seed{run['seed']}"
    name = f"{scored}-{run['channels']}-tile380-margin50{steps}-dropout0.1{seed}-bfloat16.json"
    path = README.parent / "experiments/results/reproduction" / name
    return json.loads(path.read_text())["SEG"]


@needs_experiments
def test_the_cell_results_in_the_readme_match_the_runs():
    usual = {"drop-out": "0.1", "margin": "50", "learning rate": "0.005"}
    usual |= {"ridge": "3", "rotation": "180", "interpolation": "nearest"}
    usual |= {"precision": "bfloat16"}
    lines = [line for line in table_of_results() if usual.items() <= line.items()]
    minutes = {"16": [], "64": []}
    for cells, truth, tile, steps, *scores in rows_of("| cells | trained on |"):
        if truth == "*paper*":
            continue
        data = {"U373": "PhC-C2DH-U373", "HeLa": "DIC-C2DH-HeLa"}[cells]
        run = {"data": data, "tile": tile, "iterations": steps.replace(",", "")}
        run |= {"seed": "1" if "second seed" in truth else "0"}
        run |= {"channels": "64" if "64 channels" in truth else "16"}
        of_run = {line["scored"]: line for line in lines if run.items() <= line.items()}
        thirds, silver = "thirds" in truth, "silver" in truth
        both = ", thirds of both sequences" if thirds else ""
        sequences = [f"{cells.lower()}-{n}{'-silver' if silver else both}" for n in ("01", "02")]
        shown, means = scores[:2], scores[2:]
        for name, score in zip(sequences, shown, strict=True):
            seg = float(of_run[name]["SEG"]) if thirds else exact_seg(name, run)
            assert score == f"{seg:.3f}", (name, run)
        for line, score in zip(("", ", mirrored", ", parted at necks"), means, strict=True):
            of_line = [float(of_run[f"{name}{line}"]["SEG"]) for name in sequences]
            assert score == f"{fmean(of_line):.3f}", (line, run)
        minutes[run["channels"]] += [
            float(of_run[name]["minutes"]) / (3 if thirds else 1) for name in sequences
        ]
    told = re.search(r"(\d+) to (\d+) minutes of one CPU core a network", README.read_text())
    assert [int(n) for n in told.groups()] == [round(pick(minutes["16"])) for pick in (min, max)]
    assert {round(each) for each in minutes["64"]} == {98}
    assert "one row has all 64, in 98 minutes each" in README.read_text()


@needs_experiments
def test_the_em_results_in_the_readme_match_the_runs():
    folder = README.parent / "experiments/results/reproduction"

    runs = [f"em-{n}-16-iterations12000-dropout0.1-bfloat16.json" for n in range(1, 6)]
    results = [json.loads((folder / run).read_text()) for run in runs]
    errors = ("pixel_error", "pixel_f_error", "rand_error", "splits_and_mergers")
    rows = rows_of("| ISBI 2012 EM, 16 channels")
    for name, (_, figure, _) in zip((*errors, "v_rand", "v_info"), rows, strict=True):
        mean = fmean(result["best"][name]["value"] for result in results)
        assert figure == f"{mean:.{len(figure) - 2}f}", name
    at_half = fmean(result["argmax"]["rand_error"] for result in results)
    text = prose()
    wrong = fmean(result["argmax"]["pixel_error"] for result in results)
    assert f"at a threshold of 0.5 it is {at_half:.3f}, and {wrong:.3f} of the pixels" in text


@needs_experiments
def test_the_ablation_in_the_readme_matches_the_runs():
    folder = README.parent / "experiments/results/ablation"
    rows = rows_of("| HeLa, 16 channels |")
    assert len(rows) == 4
    for title, *shown in rows:
        name = title.partition(",")[0].replace(" ", "-")
        files = [
            f"hela-{n}-{name}-16-*-iterations9000-dropout0.1-bfloat16.json" for n in ("01", "02")
        ]
        results = [json.loads(path.read_text()) for file in files for path in folder.glob(file)]
        segs = [result["SEG"] for result in results]
        parted = [result["parted_at_necks"]["SEG"] for result in results]
        kinds = [cell["mistake"] for result in results for cell in result["cells"]]
        scores = (*segs, fmean(segs), fmean(parted))
        assert shown == [*(f"{score:.3f}" for score in scores), str(kinds.count("merged"))], title
        assert len(kinds) == 195
    means = {}
    for name in ("full-recipe", "without-elastic-deformation", "padded-convolutions"):
        runs = list(folder.glob(f"hela-0?-{name}-16-*-iterations9000-*.json"))
        if name == "full-recipe":  # two more seeds are among the results of the reproduction
            reproduced = "hela-0?-16-tile380-margin50-iterations9000-dropout0.1-seed?*.json"
            runs += folder.with_name("reproduction").glob(reproduced)
        assert len(runs) == (10 if name == "full-recipe" else 6)
        means[name] = fmean(json.loads(path.read_text())["SEG"] for path in runs)
    words = "{:.3f} (five networks a sequence), {:.3f} without elastic deformation and {:.3f} with"
    assert words.format(*means.values()) in prose()


@needs_experiments
def test_the_files_linked_in_the_readme_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert target.startswith("http") or (README.parent / target).exists(), target


def test_the_models_in_the_readme_are_built_in():
    names = ", ".join(f"`{name}`" for name in built_in_models())
    assert f"the cells and membranes of the paper come with the package ({names})" in prose()
