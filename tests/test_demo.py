import dataclasses

import numpy as np

from unet2015 import load_model
from unet2015.cli import main
from unet2015.commands import demo
from unet2015.datasets.synthetic import simulate
from unet2015.images import read_image
from unet2015.schedule import TrainingConfig


def test_the_demo_writes_data_run_results_and_table(tmp_path, monkeypatch, capsys):
    quick = TrainingConfig(tile=108, iterations=2, interval=1)
    monkeypatch.setattr(demo, "SETTINGS", dataclasses.replace(demo.SETTINGS, training=quick))
    monkeypatch.setattr(demo, "UNSEEN_SHAPE", (60, 70))
    monkeypatch.setattr(demo, "UNSEEN_CELLS", 4)
    out = tmp_path / "demo"
    out.mkdir()
    words = ["--seed", "3", "--report", str(out / "report.html")]
    assert main(["demo", "-o", str(out), *words]) == 0
    for name in (
        "data/02/t002.tif",
        "run/model.safetensors",
        "run/loss.png",
        "02_RES/mask002.tif",
        "result.png",
        "weightmap.png",
        "report.html",
    ):
        assert (out / name).is_file(), name
    assert load_model(out / "run").settings["training"]["seed"] == 3
    (first,) = simulate(1, demo.TRAINING_SHAPE, demo.TRAINING_CELLS, np.random.default_rng(3))
    np.testing.assert_array_equal(read_image(out / "data/01/t000.tif"), first.image)
    for number in range(3):
        cells, probability = (
            read_image(out / f"{name}{number:03d}.tif") for name in ("02_RES/mask", "probability")
        )
        assert (probability[cells > 0] > 0.5).all()
        assert cells.any()
    assert "SEG  " in (out / "results.txt").read_text()
    assert main(["demo", "-o", str(out)]) == 2
    assert "already holds files" in capsys.readouterr().err


def test_an_invalid_seed_is_refused_before_anything_is_written(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "demo"), "--seed", "-1"]) == 2
    assert "seed is -1" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
