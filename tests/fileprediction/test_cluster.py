import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import torch

from unet2015 import InputError, save_model
from unet2015.checkpoint import Model, digest, load_model
from unet2015.cli import main
from unet2015.engines.device import Engine
from unet2015.errors import UnreachableError
from unet2015.fileprediction.imagefile import predict_file
from unet2015.fileprediction.results import Result
from unet2015.fileprediction.scratch import Scratch
from unet2015.fileprediction.tasks import Work, statistics_key
from unet2015.images import write_image
from unet2015.images.fingerprint import fingerprint
from unet2015.tiles import TileGrid
from unet2015.unet import UNet

pytest.importorskip("distributed")

from unet2015.fileprediction.cluster import Cluster, Recipe, compute_batch

GRID = TileGrid((44, 44), (44, 44), 20, 4)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr("unet2015.fileprediction.imagefile.RESUMABLE_FROM", 0)
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", Model(UNet(base_channels=4, depth=2), "standard"))
    image = np.random.default_rng(0).integers(0, 255, (2, 300, 320), dtype=np.uint8)
    write_image(tmp_path / "image.tif", image, "TYX")
    return tmp_path


def test_workers_give_the_same_file_even_if_one_is_killed(files):
    model = load_model(files / "model.safetensors")

    def predict(name, **how):
        predict_file(
            files / "image.tif",
            files / name,
            model,
            Engine(torch.device("cpu")),
            Result(),
            tile=84,
            **how,
        )
        return (files / name).read_bytes()

    expected = predict("alone.tif")
    with Cluster(files / "model.safetensors", workers=2) as cluster:
        assert cluster.processes == 2
        assert predict("two.tif", cluster=cluster) == expected
        workers = cluster._client.run(os.getpid)
        assert len(workers) == 2
        done = []

        def kill_one(pixels):
            done.append(pixels)
            if len(done) == 10:
                os.kill(next(iter(workers.values())), signal.SIGKILL)

        assert predict("one.tif", cluster=cluster, progress=kill_one) == expected
        assert sum(done) == 2 * 300 * 320
        cluster._client.wait_for_workers(2, timeout=60)
        handlers = cluster._client.run(signal.getsignal, signal.SIGINT)  # also of the restarted one
        assert set(handlers.values()) == {signal.SIG_IGN}


def test_no_cluster_is_started_for_small_images(files, monkeypatch, caplog):
    monkeypatch.setattr("unet2015.fileprediction.imagefile.RESUMABLE_FROM", 10**9)
    monkeypatch.setattr("unet2015.fileprediction.cluster.Cluster.__init__", None)
    words = [str(files / "image.tif"), "-m", str(files / "model.safetensors"), "--workers", "2"]
    assert main(["predict", *words]) == 0
    assert "are predicted in this process: --workers is not used" in caplog.text


def test_dask_messages_are_hidden(files):
    words = ["image.tif", "-m", "model.safetensors", "-o", "out.tif"]
    words += ["--workers", "1", "--keep-scratch"]
    command = [sys.executable, "-m", "unet2015", "--quiet", "predict", *words]
    with socket.socket() as other:  # another cluster's dashboard
        with suppress(OSError):
            other.bind(("", 8787))
            other.listen()
        done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    assert (files / "out.tif").exists()


def test_threads_of_a_worker_take_turns(monkeypatch):
    busy, together = [], []

    def compute(*_):
        busy.append(1)
        time.sleep(0.01)
        together.append(len(busy))
        busy.pop()

    monkeypatch.setattr(
        "unet2015.fileprediction.cluster._open_recipe", lambda _recipe: (None, None)
    )
    monkeypatch.setattr("unet2015.fileprediction.cluster.compute", compute)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: compute_batch(None, {}, []), range(8)))
    assert together == [1] * 8


def recipe_for(files, grid, pixels=Path("nowhere")):
    return Recipe(
        image=files / "image.tif",
        state=fingerprint(files / "image.tif"),
        channels=(0,),
        model=files / "model.safetensors",
        digest=digest(load_model(files / "model.safetensors")),
        engine=Engine(torch.device("cpu")),
        grid=grid,
        result=Result(),
        pixels=pixels,
        threads=None,
    )


def test_a_worker_refuses_a_different_model(files):
    with pytest.raises(InputError, match="not the same file"):
        compute_batch(recipe_for(files, GRID)._replace(digest="of another model"), {}, [])


def test_a_worker_without_a_gpu_reports_it(files):
    recipe = recipe_for(files, GRID)._replace(engine=Engine(torch.device("cuda")))
    with pytest.raises(InputError, match="a worker has no GPU"):
        compute_batch(recipe, {}, [])


def test_a_worker_refuses_a_different_image(files):
    with pytest.raises(UnreachableError, match="not the same on all machines"):
        compute_batch(recipe_for(files, GRID)._replace(state="of another image"), {}, [])


def test_a_worker_reports_a_missing_image(files):
    recipe = recipe_for(files, GRID)
    recipe.image.unlink()
    with pytest.raises(UnreachableError, match="no longer exists"):
        compute_batch(recipe, {}, [])


def test_a_worker_loads_the_model_once_for_all_images(files, monkeypatch):
    loaded = []

    def load(path):
        loaded.append(path)
        return load_model(path)

    monkeypatch.setattr("unet2015.fileprediction.cluster.load_model", load)
    for name in ("one", "other"):
        write_image(files / "image.tif", np.full((44, 44), len(name), np.uint8))
        with Scratch(files / name, {}) as scratch:
            pixels = scratch.pixels((44, 44), np.dtype("f4"), (44, 44))
            compute_batch(recipe_for(files, GRID, pixels.path), {}, [])
    assert len(loaded) == 1


def test_workers_receive_the_fingerprint_of_the_image(files):
    state, submitted = fingerprint(files / "image.tif"), []
    with Cluster(files / "model.safetensors", workers=1) as cluster:
        submit = cluster._client.submit

        def spied(what, recipe, *rest, **how):
            submitted.append(recipe)
            return submit(what, recipe, *rest, **how)

        cluster._client.submit = spied
        model = load_model(files / "model.safetensors")
        paths = files / "image.tif", files / "out.tif"
        predict_file(*paths, model, Engine(torch.device("cpu")), Result(), cluster=cluster)
    assert {recipe.state for recipe in submitted} == {state}


def test_a_long_lived_worker_reads_the_current_image(files):
    statistics = {"statistics ": [44 * 44, [100.0], [50.0], [0.0], [255.0]]}

    def predict(value):
        write_image(files / "image.tif", np.full((44, 44), value, np.uint8))
        with Scratch(files / "scratch", {}, overwrite=True) as scratch:
            pixels = scratch.pixels((44, 44), np.dtype("f4"), (44, 44))
            recipe = recipe_for(files, GRID, pixels.path)
            compute_batch(recipe, statistics, [Work((), *GRID)])
            return pixels[:, :].copy()

    assert not np.array_equal(predict(0), predict(200))


def test_workers_that_join_late_get_work(monkeypatch):
    monkeypatch.setattr("unet2015.fileprediction.cluster.digest", lambda _model: "")
    monkeypatch.setattr("unet2015.fileprediction.cluster.plane_statistics", lambda *_: None)
    in_flight, most = deque(), []

    class Finished:
        add = in_flight.append

        def __iter__(self):
            while in_flight:
                most.append(len(in_flight))
                yield in_flight.popleft()

    cluster = Cluster.__new__(Cluster)
    cluster._client, cluster._distributed = Mock(), Mock(as_completed=Finished)
    cluster._distributed.KilledWorker = RuntimeError
    cluster._distributed.comm.CommClosedError = ConnectionError
    cluster._client.nthreads.side_effect = chain([{}], repeat({"one": 8, "two": 8}))
    cluster._client.submit.side_effect = lambda *_, **__: Mock()
    cluster._model = cluster._threads = None
    grid, ledger = TileGrid((2000, 2000), (44, 44), 20, 4), {statistics_key(()): []}
    task = Mock(grid=grid)
    cluster.compute(task, "", [Work((), tile) for tile in grid], Mock(), ledger, lambda _: None)
    assert most[0] == 4
    assert max(most) == 4 * 16
    assert len(ledger) == 1 + len(grid)


@pytest.mark.parametrize(
    ("result", "threads", "status", "told"),
    [
        (CancelledError, [{}], "running", "the Dask scheduler is gone"),
        (None, [OSError("timed out")], "connecting", "the Dask scheduler is gone"),
        (None, [{}, ConnectionError("closed")], "running", "the Dask scheduler is gone"),
        (None, [{}, AttributeError("ncores")], "closed", "the Dask scheduler is gone"),
        (None, [{}, ZeroDivisionError("ours")], "running", "ours"),
        (InputError("of a worker"), [{}], "connecting", "of a worker"),
    ],
)
def test_a_lost_scheduler_is_reported(monkeypatch, result, threads, status, told):
    monkeypatch.setattr("unet2015.fileprediction.cluster.digest", lambda _model: "")
    future = Mock(**{"result.side_effect": result})
    cluster = Cluster.__new__(Cluster)
    cluster._client = Mock(status=status, **{"cancel.side_effect": OSError})
    cluster._client.nthreads.side_effect = threads
    cluster._client.submit.return_value = future
    cluster._distributed = Mock(KilledWorker=RuntimeError)
    cluster._distributed.comm.CommClosedError = ConnectionError
    cluster._distributed.as_completed.return_value = MagicMock()
    cluster._distributed.as_completed.return_value.__iter__.return_value = [future]
    cluster._model = cluster._threads = None
    work, ledger = Work((), next(iter(GRID))), {statistics_key(()): []}
    monkeypatch.setattr("unet2015.fileprediction.cluster.plane_statistics", lambda *_: None)
    with pytest.raises((InputError, ZeroDivisionError), match=told):
        cluster.compute(Mock(), "", [work], Mock(), ledger, lambda _: None)


def test_an_unreachable_scheduler_is_reported(files, capsys, monkeypatch):
    monkeypatch.setattr("unet2015.fileprediction.cluster.CONNECT_TIMEOUT", "1s")
    words = ["predict", files / "image.tif", "-m", files / "model.safetensors"]
    words += ["-o", files / "out.tif", "--scheduler", "tcp://127.0.0.1:1"]
    assert main([str(word) for word in words]) == 2
    assert "no Dask scheduler answers" in capsys.readouterr().err.splitlines()[-1]
    assert main([*map(str, words), "--workers", "2"]) == 2
    assert "--workers" in capsys.readouterr().err


def test_work_in_progress_is_written_before_the_folder_is_released(files):
    def interrupt(_pixels):
        raise KeyboardInterrupt

    model = load_model(files / "model.safetensors")
    how = Engine(torch.device("cpu")), Result()
    with Cluster(files / "model.safetensors", workers=2) as cluster:
        with pytest.raises(KeyboardInterrupt):
            predict_file(
                *(files / "image.tif", files / "out.tif", model, *how),
                tile=84,
                cluster=cluster,
                progress=interrupt,
            )
        scratch = files / ".out.tif.unet2015"
        written = sorted(scratch.rglob("*"))
        assert any(path.parent.name == "c" for path in written)
        time.sleep(1)
        assert sorted(scratch.rglob("*")) == written


def test_an_unresponsive_worker_is_not_waited_for_forever(monkeypatch, caplog):
    monkeypatch.setattr("unet2015.fileprediction.cluster.digest", lambda _model: "")
    monkeypatch.setattr("unet2015.fileprediction.cluster.plane_statistics", lambda *_: None)
    monkeypatch.setattr("unet2015.fileprediction.cluster.FINISH_TIMEOUT", 0.1)
    answers = threading.Event()
    cluster = Cluster.__new__(Cluster)
    cluster._client = Mock(status="running", **{"run.side_effect": lambda *_: answers.wait(60)})
    cluster._client.nthreads.return_value = {}
    cluster._client.submit.return_value = Mock(**{"result.side_effect": KeyboardInterrupt})
    cluster._distributed = Mock(KilledWorker=RuntimeError)
    finished = cluster._distributed.as_completed.return_value = MagicMock()
    finished.__iter__.return_value = [cluster._client.submit.return_value]
    cluster._model = cluster._threads = None
    work, ledger = Work((), next(iter(GRID))), {statistics_key(()): []}
    with pytest.raises(KeyboardInterrupt):
        cluster.compute(Mock(), "", [work], Mock(path=Path("here")), ledger, lambda _: None)
    assert "a Dask worker has not finished its tiles and may still write to here" in caplog.text
    answers.set()
