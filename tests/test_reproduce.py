"""The reproduction's script, on synthetic data in the challenges' layout."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from unet2015 import load_model
from unet2015.datasets.synthetic import simulate, write_sequence
from unet2015.errors import InputError
from unet2015.images import write_image

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
if not EXPERIMENTS.is_dir():
    pytest.skip("the experiments are not part of this installation", allow_module_level=True)


@pytest.fixture
def reproduce(tmp_path, monkeypatch):
    """A function that runs the script; results go to the temporary folder."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    import reproduce
    import results_table

    monkeypatch.setattr(reproduce, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results_table, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results_table, "TABLE", tmp_path / "results.md")
    monkeypatch.setenv("UNET2015_DATA", str(tmp_path / "data"))

    def run(*arguments):
        tiny = ["--base-channels", "2", "--iterations", "2", "--runs", str(tmp_path / "runs")]
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *arguments, *tiny])
        reproduce.main()

    return run


def test_cell_folds_are_trained_tracked_scored_and_tabulated(reproduce, tmp_path):
    data = tmp_path / "data" / "PhC-C2DH-U373"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(2, (200, 220), 6, np.random.default_rng(seed)))
    settings = ["--dropout", "0.1", "--ridge", "5", "--w0", "5", "--seed", "3"]
    reproduce("u373", "--folds", "02", *settings)
    (found,) = (tmp_path / "results").iterdir()
    assert found.name == "u373-02-2-ridge5-margin50-w05-iterations2-dropout0.1-seed3.json"
    result = json.loads(found.read_text())
    assert result["fold"] == "u373-02"
    assert {name.split("/")[1] for name in result["trained_on"]} == {"01"}
    assert result["margin"] == 50
    assert result["parted_at_necks"]["depth"] == 7
    table = (tmp_path / "results.md").read_text()
    for line in ("", ", mirrored", ", parted at necks"):
        shown = f"| u373-02{line} | 2 | 0.1 | 572 | 5 | 50 | 5 | 180 | nearest | 2 | 0.005 | 3 |"
        assert f"{shown} float32 |" in table


def test_held_out_thirds_are_scored_on_their_gold_truth(reproduce, tmp_path, monkeypatch):
    import folds

    data = tmp_path / "data" / "PhC-C2DH-U373"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(9, (200, 220), 6, np.random.default_rng(seed)))
        silver = data / f"{sequence}_ST" / "SEG"
        silver.mkdir(parents=True)
        for number in (0, 3):
            mask = f"man_seg00{number}.tif"
            (data / f"{sequence}_GT/SEG/{mask}").rename(silver / mask)
    monkeypatch.setattr(folds, "GAP", 1)
    reproduce("u373", "--folds", "middle", "early", "--silver")
    assert "thirds" not in (tmp_path / "results.md").read_text()  # the late third is missing
    reproduce("u373", "--folds", "late", "--silver")
    found = {}
    for third, trained, scored in [
        ("early", range(4, 9), (1, 2)),
        ("middle", (0, 1, 7, 8), (4, 5)),
        ("late", range(5), (6, 7, 8)),
    ]:
        path = tmp_path / "results" / f"u373-{third}-silver-2-margin50-iterations2.json"
        found[third] = json.loads(path.read_text())
        names = [f"PhC-C2DH-U373/{s}/t00{n}" for s in ("01", "02") for n in trained]
        assert found[third]["trained_on"] == names
        names = [f"PhC-C2DH-U373/{s}/t00{n}" for s in ("01", "02") for n in scored]
        for line in (found[third], found[third]["parted_at_necks"], found[third]["mirrored"]):
            assert list(dict.fromkeys(cell["frame"] for cell in line["cells"])) == names
    means = [
        np.mean([c["SEG"] for r in found.values() for c in r["cells"] if f"/{s}/" in c["frame"]])
        for s in ("01", "02")
    ]
    lines = (tmp_path / "results.md").read_text().splitlines()
    of_thirds = [line for line in lines if "thirds" in line and "necks" not in line][:3]
    for line, start, seg in zip(
        of_thirds, ("u373-01", "u373-02", "**mean"), (*means, np.mean(means)), strict=True
    ):
        assert line.startswith(f"| {start}, thirds of both sequences, silver truth added")
        assert f"{seg:.4f}" in line


def test_a_result_in_bfloat16_does_not_replace_one_in_float32(reproduce, tmp_path):
    data = tmp_path / "data" / "PhC-C2DH-U373"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(1, (200, 220), 6, np.random.default_rng(seed)))
    for precision in ("float32", "bfloat16"):
        reproduce("u373", "--folds", "02", "--precision", precision)
    name = "u373-02-2-margin50-iterations2"
    found = [tmp_path / "results" / f"{name}{end}.json" for end in ("", "-bfloat16")]
    assert [json.loads(path.read_text())["precision"] for path in found] == ["float32", "bfloat16"]
    lines = (tmp_path / "results.md").read_text().splitlines()
    alone = [line for line in lines if line.startswith("| u373-02 |")]
    assert ["| bfloat16 |" in line for line in alone] == [True, False]


def test_the_network_of_a_fold_becomes_a_built_in_model(reproduce, tmp_path, monkeypatch):
    import build_models

    data = tmp_path / "data" / "DIC-C2DH-HeLa"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(2, (200, 220), 6, np.random.default_rng(seed)))
    reproduce("hela", "--folds", "01")
    monkeypatch.setattr(build_models, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(build_models, "INDEX", tmp_path / "models" / "models.json")
    words = ["hela", "--fold", "01", "--runs", str(tmp_path / "runs")]
    tiny = ["--base-channels", "2", "--iterations", "2", "--tile", "572", "--dropout", "0.5"]
    monkeypatch.setattr(sys, "argv", ["build_models.py", *words, *tiny])
    build_models.main()
    about = json.loads((tmp_path / "models" / "models.json").read_text())["hela"]
    assert "gold truth, without sequence 01; 2 steps, tiles of 572" in about["data"]
    assert about["score"].endswith(" on sequence 01, which it was not trained on")
    loaded = load_model(tmp_path / "models" / "hela.safetensors")
    trained = load_model(tmp_path / "runs" / "hela-01-2-margin50-iterations2")
    name, weight = next(iter(trained.network.state_dict().items()))
    assert np.allclose(loaded.network.state_dict()[name], weight, atol=1e-3)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--precision", "bfloat16"])
    with pytest.raises(SystemExit, match="in bfloat16"):
        build_models.main()


def test_silver_truth_gets_its_own_table_row_and_model(reproduce, tmp_path, monkeypatch):
    import build_models

    data = tmp_path / "data" / "DIC-C2DH-HeLa"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(2, (200, 220), 6, np.random.default_rng(seed)))
        silver = data / f"{sequence}_ST" / "SEG"
        silver.mkdir(parents=True)
        (data / f"{sequence}_GT/SEG/man_seg001.tif").rename(silver / "man_seg001.tif")
    reproduce("hela", "--folds", "01", "--silver")
    name = "hela-01-silver-2-margin50-iterations2.json"
    result = json.loads((tmp_path / "results" / name).read_text())
    assert result["trained_on"] == [f"DIC-C2DH-HeLa/02/t00{n}" for n in (0, 1)]
    monkeypatch.setattr(build_models, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(build_models, "INDEX", tmp_path / "models" / "models.json")
    words = ["hela", "--silver", "--runs", str(tmp_path / "runs")]
    tiny = ["--base-channels", "2", "--iterations", "2", "--tile", "572", "--dropout", "0.5"]
    monkeypatch.setattr(sys, "argv", ["build_models.py", *words, *tiny])
    build_models.main()
    about = json.loads((tmp_path / "models" / "models.json").read_text())["hela"]
    assert "DIC-C2DH-HeLa, gold truth and silver truth, all of it; 2 steps" in about["data"]
    assert "on sequence 01, by a network not trained on them" in about["score"]
    assert len(load_model(tmp_path / "models/hela.safetensors").settings["frames"]) == 4


def test_a_run_out_of_time_writes_no_result_and_can_be_resumed(reproduce, tmp_path):
    data = tmp_path / "data" / "PhC-C2DH-U373"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(2, (200, 220), 6, np.random.default_rng(seed)))
    reproduce("u373", "--folds", "01", "--minutes", "0", "--interval", "1")
    assert not (tmp_path / "results").exists()
    reproduce("u373", "--folds", "01", "--interval", "1")
    assert (tmp_path / "results" / "u373-01-2-margin50-iterations2.json").exists()


def test_em_folds_hold_out_blocks_of_slices_last_block_first(reproduce, tmp_path):
    cells = np.zeros((12, 40, 50), np.uint8)
    cells[:, 5:20, 5:25] = cells[:, 22:35, 5:45] = 255
    data = tmp_path / "data" / "ISBI-2012-EM"
    data.mkdir(parents=True)
    write_image(data / "train-volume.tif", cells // 3 + np.arange(50, dtype=np.uint8), "ZYX")
    write_image(data / "train-labels.tif", cells, "ZYX")
    with pytest.raises(InputError, match="no fold 02 of em: --folds takes 1, 2, 3, 4, 5"):
        reproduce("em", "--folds", "1", "02")
    reproduce("em", "--folds", "1")
    result = json.loads((tmp_path / "results" / "em-1-2-iterations2.json").read_text())
    assert result["held_out"] == [6, 7, 8, 9, 10, 11]
    assert result["trained_on"] == [f"ISBI-2012-EM/{n:02}" for n in range(6)]
    assert "| em-1 | 2 |" in (tmp_path / "results.md").read_text()


def test_the_error_for_missing_data_names_the_variable_to_set(reproduce):
    with pytest.raises(SystemExit, match="UNET2015_DATA"):
        reproduce("hela")


@pytest.mark.parametrize("script", ["results_table", "ablation"])
def test_the_committed_tables_are_of_the_committed_results(tmp_path, monkeypatch, script):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    module = importlib.import_module(script)
    committed = module.TABLE.read_text()
    monkeypatch.setattr(module, "TABLE", tmp_path / "table.md")
    module.write_table()
    assert (tmp_path / "table.md").read_text() == committed


@pytest.mark.usefixtures("reproduce")
def test_the_ablation_trains_and_tabulates_each_variant(tmp_path, monkeypatch):
    import ablation

    data = tmp_path / "data" / "PhC-C2DH-U373"
    for seed, sequence in enumerate(("01", "02")):
        write_sequence(data, sequence, simulate(1, (200, 220), 6, np.random.default_rng(seed)))
    monkeypatch.setattr(ablation, "RESULTS", tmp_path / "ablation")
    monkeypatch.setattr(ablation, "TABLE", tmp_path / "ablation.md")
    words = ["--sets", "u373", "--base-channels", "1", "--iterations", "1"]
    words += ["--interpolation", "linear"]
    monkeypatch.setattr(sys, "argv", ["ablation.py", *words, "--runs", str(tmp_path / "runs")])
    ablation.main()
    assert len(list((tmp_path / "ablation").iterdir())) == 2 * len(ablation.VARIANTS)
    table = (tmp_path / "ablation.md").read_text()
    assert "linear interpolation" in table
    for title in ablation.VARIANTS:
        assert f"| {title} | 0.0000 (2) | 0.0000 (2) |  |  |" in table


@pytest.mark.usefixtures("reproduce")
def test_the_ablation_compares_the_same_folds_and_seeds():
    import ablation

    def result(title, scored, seed, seg):
        settings = {"training": {"seed": seed}}
        fold = f"hela-{scored}-{title.replace(' ', '-')}"
        parted = {"SEG": seg / 2}
        return {"fold": fold, "settings": settings, "SEG": seg, "parted_at_necks": parted}

    known = [*ablation.VARIANTS][:2]
    found = [
        result(known[0], scored, seed, 0.5 + seed) for scored in ("01", "02") for seed in (0, 1)
    ]
    found += [result(known[1], "01", seed, 0.3) for seed in (0, 1, 2)]
    found += [result(known[1], "02", 0, 0.4)]
    assert ablation._means(found, "hela", known[0]) == ["1.0000 (4)", "0.5000 (4)"]
    assert ablation._means(found, "hela", known[1]) == ["", ""]
    found += [result(known[1], "02", 1, 0.4)]
    assert ablation._means(found, "hela", known[1]) == ["0.3500 (4)", "0.1750 (4)"]
    assert ablation._means(found, "hela", [*ablation.VARIANTS][2]) == ["", ""]
    assert ablation._means(found, "u373", known[0]) == ["", ""]
    with pytest.raises(SystemExit, match="two results of hela-01-full-recipe, seed 0"):
        ablation._means([*found, found[0]], "hela", known[0])


@pytest.mark.usefixtures("reproduce")
def test_the_padded_network_of_the_ablation_keeps_the_image_size():
    import torch
    from ablation import PaddedUNet

    network = PaddedUNet(base_channels=1).eval()
    assert network(torch.zeros(1, 1, 32, 48)).shape == (1, 2, 32, 48)
