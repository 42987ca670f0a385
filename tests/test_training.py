import dataclasses
import math
import os

import numpy as np
import pytest
import torch

from unet2015 import InputError, load_model
from unet2015.atomic import atomic_path
from unet2015.augment import AugmentationConfig
from unet2015.checkpoint import MODEL_FILE, read_tensors, write_tensors
from unet2015.datasets.frames import annotated_frame
from unet2015.engines.backends import WithFallback
from unet2015.engines.device import Engine
from unet2015.loss import weighted_cross_entropy
from unet2015.runs import CHECKPOINT_FILE, LOG_FILE, Run, check_folder, read_log
from unet2015.samples import prepare
from unet2015.schedule import TrainingConfig, learning_rate, momentum
from unet2015.settings import Settings, check, check_frames
from unet2015.training import _Step, _Tiles, train
from unet2015.unet import UNet, UNetConfig
from unet2015.weightmap import WeightMapConfig

CPU = Engine(torch.device("cpu"))
SMALL = Settings(
    UNetConfig(base_channels=4, depth=2),
    TrainingConfig(tile=60, iterations=12, interval=4, warmup=2, learning_rate=0.01),
)


def changed(**training):
    return dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, **training))


def frames():
    rng = np.random.default_rng(0)
    rows, columns = np.indices((64, 64))
    labels = np.zeros((64, 64), np.uint8)
    for number, (row, column) in enumerate([(16, 16), (16, 40), (44, 30)], 1):
        labels[np.hypot(rows - row, columns - column) < 12] = number
    image = 100 + 60 * (labels > 0) + rng.normal(0, 5, labels.shape)
    return [annotated_frame(image.astype(np.uint8), labels, "discs")]


def weights(folder):
    return load_model(folder).network.state_dict()


class Killed(Exception):
    pass


def kill_at(monkeypatch, iteration):
    real = learning_rate

    def dying(config, now):
        if now == iteration:
            raise Killed
        return real(config, now)

    monkeypatch.setattr("unet2015.training.learning_rate", dying)


@pytest.mark.parametrize(
    ("killed_at", "dtype"),
    [
        (2, torch.float32),
        (5, torch.float32),
        (8, torch.float32),
        (11, torch.float32),
        (8, torch.bfloat16),  # in another memory format
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, killed_at, dtype):
    engine = CPU._replace(dtype=dtype)
    train(frames(), tmp_path / "whole", SMALL, engine)
    with monkeypatch.context() as patch:
        kill_at(patch, killed_at)
        with pytest.raises(Killed):
            train(frames(), tmp_path / "cut", SMALL, engine)
    assert len(read_log(tmp_path / "cut")) == killed_at // 4
    train(frames(), tmp_path / "cut", SMALL, engine, resume=True)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    logs = [[line[:3] for line in read_log(tmp_path / folder)] for folder in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert [line[0] for line in logs[0]] == [4, 8, 12]


@pytest.mark.parametrize("at", ["runs.write_tensors", "runs.Run._write_log"])
def test_a_kill_around_the_checkpoint_leaves_a_complete_log(tmp_path, monkeypatch, at):
    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"unet2015.{at}", die)
        with pytest.raises(Killed):
            train(frames(), tmp_path, SMALL, CPU)
    train(frames(), tmp_path, SMALL, CPU, resume=True)
    assert [line.iteration for line in read_log(tmp_path)] == [4, 8, 12]


def test_a_modified_log_is_rewritten(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, 9)
        with pytest.raises(Killed):
            train(frames(), tmp_path, SMALL, CPU)
    log = tmp_path / LOG_FILE
    log.write_text(log.read_text().replace(",", ";"))
    train(frames(), tmp_path, SMALL, CPU, resume=True)
    assert [line.iteration for line in read_log(tmp_path)] == [4, 8, 12]


def test_a_log_open_in_another_program_is_completed_later(tmp_path, monkeypatch, caplog):
    held = iter([True, True, False])

    def open_it(path):
        if path.name == "log.csv" and next(held):
            raise PermissionError(13, "Permission denied")
        return atomic_path(path)

    monkeypatch.setattr("unet2015.runs.atomic_path", open_it)
    train(frames(), tmp_path, SMALL, CPU)
    assert [line.iteration for line in read_log(tmp_path)] == [4, 8, 12]
    assert caplog.text.count("cannot be written") == 2


def test_a_log_that_stays_open_is_completed_on_resuming(tmp_path, monkeypatch):
    def held(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        kill_at(patched, 9)
        patched.setattr("unet2015.runs.atomic_path", held)
        with pytest.raises(Killed):
            train(frames(), tmp_path, SMALL, CPU)
    train(frames(), tmp_path, SMALL, CPU, resume=True)
    assert [line.iteration for line in read_log(tmp_path)] == [4, 8, 12]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    left = tmp_path / ".0123abcd.partial.model.safetensors"
    now = tmp_path / ".4567abcd.partial.model.safetensors"
    left.touch()
    now.touch()
    os.utime(left, (0, 0))
    Run(tmp_path, {}, resume=False)
    assert list(tmp_path.iterdir()) == [now]


def test_a_run_belongs_to_one_process(tmp_path):
    with (
        Run(tmp_path, {}, resume=False),
        pytest.raises(InputError, match="another process"),
        Run(tmp_path, {}, resume=False),
    ):
        pass


def test_a_checkpoint_includes_buffers(tmp_path):
    class Counting(UNet):
        def __init__(self, **fields):
            super().__init__(**fields)
            self.register_buffer("count", torch.zeros(()))

        def forward(self, image):
            self.count += 1
            return super().forward(image)

    settings = changed(iterations=8, interval=4)
    train(frames(), tmp_path / "whole", settings, CPU, build=Counting)
    train(frames(), tmp_path / "parts", settings, CPU, deadline=0, build=Counting)
    train(frames(), tmp_path / "parts", settings, CPU, resume=True, build=Counting)
    whole, parts = (read_tensors(tmp_path / name / MODEL_FILE)[0] for name in ("whole", "parts"))
    assert whole["count"] >= 8
    assert torch.equal(whole["count"], parts["count"])


def test_the_seed_determines_the_run(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(frames(), tmp_path / name, changed(seed=seed, iterations=4), CPU)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_training_lowers_the_loss(tmp_path):
    training = changed(iterations=80, interval=20, momentum=0.9, learning_rate=0.1).training
    train(frames(), tmp_path, Settings(UNetConfig(1, 2, 8, 2, 0.0), training), CPU)
    losses = [line.loss for line in read_log(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]


def test_validation_is_logged_and_does_not_affect_the_training(tmp_path):
    seen = []

    def validate(model):
        seen.append(model.network.training)
        torch.rand(5)
        return np.float32(0.25)  # as by NumPy's mean

    train(frames(), tmp_path / "with", SMALL, CPU, validate=validate)
    train(frames(), tmp_path / "without", SMALL, CPU)
    assert seen == [False] * 3
    assert [line.validation_seg for line in read_log(tmp_path / "with")] == [0.25] * 3
    a, b = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(tmp_path, monkeypatch):
    train(frames(), tmp_path, SMALL, CPU)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    with pytest.raises(InputError, match="--resume"):
        train(frames(), tmp_path, SMALL, CPU)
    with pytest.raises(InputError, match=r"with learning_rate = 0\.01, not 0\.5"):
        train(frames(), tmp_path, changed(learning_rate=0.5), CPU, resume=True)
    monkeypatch.setattr("unet2015.training.prepare", None)  # must be refused before
    with pytest.raises(InputError, match="= 12, not 24, which its schedule depends on"):
        train(frames(), tmp_path, changed(iterations=24), CPU, resume=True)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


def test_a_diverging_loss_stops_the_run_and_leaves_no_broken_model(tmp_path):
    wild = changed(learning_rate=1e6, clip_norm=1e6, warmup=0)
    with pytest.raises(InputError, match="lower --learning-rate"):
        train(frames(), tmp_path, wild, CPU)
    assert not (tmp_path / CHECKPOINT_FILE).exists()
    assert not (tmp_path / LOG_FILE).exists()


def test_defaults_are_those_of_the_paper_and_of_the_published_results():
    assert TrainingConfig() == TrainingConfig(
        momentum=0.99, first_momentum=0.9, tile=572, iterations=6000, learning_rate=5e-3,
        warmup=100, clip_norm=1.0, class_balance=0.1, ridge=3, margin=0, normalisation="standard",
        interval=250, seed=0,
    )  # fmt: skip


def test_the_learning_rate_rises_and_falls_along_a_cosine():
    config = TrainingConfig(learning_rate=2.0, warmup=4, iterations=20, first_momentum=0.99)
    rates = [learning_rate(config, i) for i in range(20)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[12] == pytest.approx(1.0)
    assert rates[19] == pytest.approx(1 + math.cos(math.pi * 15 / 16))
    only_rising = dataclasses.replace(config, iterations=4)
    assert [learning_rate(only_rising, i) for i in range(4)] == pytest.approx(rates[:4])


def test_the_momentum_rises_and_the_learning_rate_compensates():
    config = TrainingConfig(learning_rate=1.0, warmup=0, iterations=100)
    assert momentum(config, 0) == pytest.approx(0.9)
    assert momentum(config, 50) == pytest.approx(1 - math.sqrt(0.1 * 0.01))
    assert momentum(config, 100) == pytest.approx(0.99)
    assert learning_rate(config, 0) == pytest.approx(10.0)
    assert learning_rate(config, 50) == pytest.approx(math.sqrt(10) / 2)


def test_training_starts_from_weights_adapted_to_its_tiles(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("unet2015.training.adapt", lambda _, images: seen.append(images))
    train(frames(), tmp_path, changed(iterations=4), CPU)
    assert [tuple(images.shape) for images in seen] == [(4, 1, 60, 60)]
    train(frames(), tmp_path, changed(iterations=4), CPU, resume=True)
    assert len(seen) == 1  # trained weights are not adapted


def test_the_optimizer_follows_the_schedule(tmp_path, monkeypatch):
    seen = []
    real = torch.optim.SGD.step

    def step(self, *args):
        seen.append((self.param_groups[0]["lr"], self.param_groups[0]["momentum"]))
        return real(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    train(frames(), tmp_path, SMALL, CPU)
    config = SMALL.training
    assert seen == [(learning_rate(config, i), momentum(config, i)) for i in range(12)]


def test_a_non_finite_gradient_stops_the_run(tmp_path, monkeypatch):
    real = torch.nn.utils.clip_grad_norm_
    calls = []

    def clip(*args):
        calls.append(real(*args))
        return calls[-1] * (math.inf if len(calls) == 3 else 1)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    with pytest.raises(InputError, match="diverged"):
        train(frames(), tmp_path, changed(interval=1000), CPU)
    assert not (tmp_path / CHECKPOINT_FILE).exists()
    assert len(calls) == 10, "the loss is looked at between the intervals too"


def test_the_model_stores_the_minimum_cell_size(tmp_path):
    train(frames(), tmp_path, changed(iterations=1), CPU)
    areas = np.bincount(frames()[0].labels.ravel())[1:]
    assert load_model(tmp_path).min_size == int(0.25 * areas.min())


def test_large_gradients_are_clipped(tmp_path, monkeypatch):
    lengths = []
    real = torch.optim.SGD.step

    def step(self, *args):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        lengths.append(float(torch.nn.utils.get_total_norm(gradients)))
        return real(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    train(frames(), tmp_path, changed(clip_norm=1e-3), CPU)
    assert lengths == pytest.approx([1e-3] * 12, rel=0.01)


def test_a_run_can_be_resumed_with_another_interval(tmp_path):
    train(frames(), tmp_path / "a", changed(iterations=8, interval=4), CPU, deadline=0)
    on = train(frames(), tmp_path / "a", changed(iterations=8, interval=2), CPU, resume=True)
    whole = train(frames(), tmp_path / "b", changed(iterations=8, interval=8), CPU)
    on, whole = on.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(on[name], whole[name]) for name in whole)


def test_training_does_not_affect_the_random_numbers_of_the_caller(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = torch.rand(1)
    train(frames(), tmp_path, changed(iterations=2, interval=2), CPU)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_frames_may_be_a_generator_and_the_engine_is_optional(tmp_path):
    model = train((frame for frame in frames()), tmp_path, changed(iterations=1))
    assert model.settings["frames"] == ["discs"]


def test_a_folder_of_other_files_cannot_be_resumed(tmp_path):
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(InputError, match="no run to resume"):
        train(frames(), tmp_path, changed(), CPU, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize("empty", [True, False])
def test_frames_without_cells_are_refused(tmp_path, empty):
    none = [] if empty else [frame._replace(labels=frame.labels * 0) for frame in frames()]
    with pytest.raises(InputError, match="has no frames" if empty else "contains a cell"):
        train(none, tmp_path / "run", changed(), CPU)
    assert not (tmp_path / "run").exists()


def test_frames_without_background_are_refused(tmp_path):
    full = [frame._replace(labels=frame.labels + 1) for frame in frames()]
    with pytest.raises(InputError, match="no pixel of the 1 label images is 0, the background"):
        train(full[:1], tmp_path / "run", changed(), CPU)
    assert not (tmp_path / "run").exists()


def test_the_log_has_the_mean_loss_of_each_interval(tmp_path, monkeypatch):
    losses = []

    def loss(*args):
        losses.append(weighted_cross_entropy(*args))
        return losses[-1]

    monkeypatch.setattr("unet2015.training.weighted_cross_entropy", loss)
    train(frames(), tmp_path, SMALL, CPU)
    expected = torch.stack(losses).detach().reshape(3, 4).mean(dim=1)
    assert [line.loss for line in read_log(tmp_path)] == pytest.approx(expected.tolist())


def test_a_log_file_is_not_filled_with_progress_bars(tmp_path, capsys):
    train(frames(), tmp_path, changed(iterations=60, interval=60), CPU)
    assert capsys.readouterr().err.count("training:") <= 3  # first, last, one on slow machines


def test_tiles_depend_on_the_seed_and_the_iteration():
    prepared, _ = prepare(frames(), SMALL.training, SMALL.weight_map)
    first, again, later, other = (
        _Tiles(prepared, changed(seed=seed), 20, 0, CPU)._make(iteration)[0]
        for seed, iteration in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


def test_a_run_is_not_resumed_in_another_precision(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    with pytest.raises(InputError, match="precision = float32, not bfloat16"):
        train(frames(), tmp_path, SMALL, CPU._replace(dtype=torch.bfloat16), resume=True)


def test_a_run_that_lost_its_network_begins_again(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    (tmp_path / "loss.png").touch()
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    train(frames(), tmp_path, SMALL, CPU)
    assert read_log(tmp_path)[-1].iteration == SMALL.training.iterations


def test_resuming_says_where_it_starts(tmp_path, caplog):
    caplog.set_level("INFO")
    train(frames(), tmp_path, changed(iterations=4, interval=2), CPU, deadline=0)
    train(frames(), tmp_path, changed(iterations=4, interval=2), CPU, resume=True)
    assert f"resuming {tmp_path} after iteration 2 of 4." in caplog.text
    assert "is complete" not in caplog.text
    train(frames(), tmp_path, changed(iterations=4, interval=2), CPU, resume=True)
    assert f"the run in {tmp_path} is complete: for more iterations, start anew" in caplog.text


def test_all_settings_that_differ_from_those_of_the_run_are_named(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    others = changed(iterations=SMALL.training.iterations + 1, ridge=1)
    with pytest.raises(
        InputError,
        match=r"iterations = \d+, not \d+, which its schedule depends on from the start and "
        r"ridge = 3, not 1: resume it with the same",
    ):
        train(frames(), tmp_path, others, CPU, resume=True)


def test_a_model_without_its_checkpoint_is_not_overwritten(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    (tmp_path / CHECKPOINT_FILE).unlink()
    before = weights(tmp_path)
    with pytest.raises(InputError, match="already holds a model"):
        train(frames(), tmp_path, SMALL, CPU)
    assert all(torch.equal(before[name], weights(tmp_path)[name]) for name in before)


def test_a_run_is_not_resumed_with_other_data(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    (frame,) = frames()
    with pytest.raises(InputError, match="started with other images or labels"):
        train([frame._replace(image=frame.image + 1)], tmp_path, SMALL, CPU, resume=True)


def test_another_picture_of_a_loss_is_not_overwritten(tmp_path):
    (tmp_path / ".hidden").touch()
    check_folder(tmp_path, resume=True)
    (tmp_path / "loss.png").touch()
    with pytest.raises(InputError, match=r"loss\.png is not of a training run"):
        check_folder(tmp_path, resume=False)


def test_a_run_without_its_model_is_not_overwritten(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    (tmp_path / MODEL_FILE).unlink()
    with pytest.raises(InputError, match="already holds a training run"):
        train(frames(), tmp_path, SMALL, CPU)


def test_resuming_a_complete_run_restores_its_log(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    written = (tmp_path / LOG_FILE).read_text()
    (tmp_path / LOG_FILE).unlink()
    train(frames(), tmp_path, SMALL, CPU, resume=True)
    assert (tmp_path / LOG_FILE).read_text() == written


def test_a_run_with_a_checkpoint_of_another_format_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("unet2015.runs.FORMAT", "unet2015 checkpoint 1")
    train(frames(), tmp_path, SMALL, CPU)
    monkeypatch.undo()
    with pytest.raises(InputError, match="not a checkpoint of this version"):
        train(frames(), tmp_path, SMALL, CPU, resume=True)


def test_a_run_of_a_version_without_a_setting_is_not_resumed(tmp_path):
    train(frames(), tmp_path, SMALL, CPU)
    tensors, metadata = read_tensors(tmp_path / CHECKPOINT_FILE)
    del metadata["settings"]["augmentation"]["interpolation"]
    write_tensors(tmp_path / CHECKPOINT_FILE, tensors, metadata)
    with pytest.raises(InputError, match="resume with the version that wrote it"):
        train(frames(), tmp_path, SMALL, CPU, resume=True)


def test_the_folder_of_a_run_is_checked_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is not a writable folder"):
        train(frames(), tmp_path / "file", SMALL, CPU)
    (tmp_path / LOG_FILE).write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is not the log of a training run"):
        train(frames(), tmp_path, SMALL, CPU)


def test_training_continues_if_only_the_compiled_backward_pass_fails(tmp_path, monkeypatch, caplog):
    class NoWayBack(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, logits):
            return logits.clone()

        @staticmethod
        def backward(_ctx, _gradient):
            raise RuntimeError("no such instruction")

    def compiled(network, dtype, _backend):
        del dtype
        return WithFallback(lambda image: NoWayBack.apply(network(image)), network, "the fast way")

    expected = train(frames(), tmp_path / "plain", SMALL, CPU).network.state_dict()
    monkeypatch.setattr("unet2015.training.runner", compiled)
    train(frames(), tmp_path / "compiled", SMALL, CPU)
    assert "the fast way failed (no such instruction)" in caplog.text
    found = weights(tmp_path / "compiled")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("iterations", "backend"), [(4, "torch"), (60_000, "compile")])
def test_only_long_trainings_are_compiled(monkeypatch, iterations, backend):
    chosen = []

    def stop(_network, _dtype, backend):
        chosen.append(backend)
        raise Killed

    monkeypatch.setattr("unet2015.training.runner", stop)
    monkeypatch.setattr(Engine, "gains_by_compiling", True)
    config = dataclasses.replace(SMALL.training, iterations=iterations, tile=572)
    network = UNet(base_channels=16)
    with pytest.raises(Killed):
        _Step(network, config, CPU)
    assert chosen == [backend]


def test_the_callers_default_dtype_does_not_matter(tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        train(frames(), tmp_path, changed(iterations=4), CPU)
        assert load_model(tmp_path).network.classifier.weight.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_training_works_in_bfloat16(tmp_path):
    engine = Engine(torch.device("cpu"), torch.bfloat16)
    train(frames(), tmp_path, SMALL, engine)
    assert all(math.isfinite(line.loss) for line in read_log(tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [
        {"deformation_grid": 1},
        {"deformation_sigma": math.nan},
        {"rotation": -5.0},
        {"rotation": math.inf},
        {"offset": -0.1},
        {"gain": -0.1},
        {"gain": 1.0},
    ],
)
def test_invalid_augmentation_is_refused(wrong):
    settings = dataclasses.replace(SMALL, augmentation=AugmentationConfig(**wrong))
    with pytest.raises(InputError, match=next(iter(wrong))):
        check(settings)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tile": 61}, "nearest to yours: 60 and 64"),
        ({"iterations": 0}, "iterations"),
        ({"interval": 0}, "interval is 0: it must be at least 1"),
        ({"warmup": -1}, "warmup is -1: it must be at least 0"),
        ({"seed": -1}, "seed is -1: it must be at least 0"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"first_momentum": 0.0}, "first_momentum"),
        ({"class_balance": 2.0}, "class balance is 2"),
        ({"clip_norm": 0.0}, "inf clips nothing"),
        ({"normalisation": "none"}, "unknown normalisation"),
        ({"seed": np.int64(3)}, r"seed is np.int64\(3\): give an int"),
        ({"iterations": 4.0}, "iterations is 4.0: give an int"),
        ({"learning_rate": np.float32(0.5)}, r"learning_rate is np.float32\(0.5\): give a float"),
    ],
)
def test_invalid_settings_are_refused_before_training(wrong, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(frames(), tmp_path, changed(**wrong), CPU)
    assert not list(tmp_path.iterdir())


def test_training_may_start_without_a_warmup():
    check(changed(warmup=0))


def test_gradient_clipping_can_be_disabled(tmp_path):
    train(frames(), tmp_path / "inf", changed(iterations=4, clip_norm=math.inf), CPU)
    train(frames(), tmp_path / "much", changed(iterations=4, clip_norm=1e9), CPU)
    a, b = weights(tmp_path / "inf"), weights(tmp_path / "much")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_part_of_the_settings_in_the_place_of_another_is_refused():
    with pytest.raises(
        InputError, match="training is AugmentationConfig: it must be TrainingConfig"
    ):
        check(dataclasses.replace(SMALL, training=AugmentationConfig()))


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"w0": -1.0}])
def test_an_invalid_weight_map_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        check(dataclasses.replace(SMALL, weight_map=WeightMapConfig(**wrong)))


def test_an_even_ridge_width_is_refused():
    with pytest.raises(InputError, match="odd number"):
        check(changed(ridge=2))


def test_objects_that_are_not_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match="annotated_frame"):
        train([("a", np.zeros((9, 9)), np.eye(9))], tmp_path, SMALL, CPU)


def test_a_part_of_settings_and_the_name_of_a_device_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"settings are a TrainingConfig: put it into Settings"):
        train(frames(), tmp_path, SMALL.training, CPU)
    with pytest.raises(InputError, match="engine is 'cpu': pass one that `choose_engine` has made"):
        train(frames(), tmp_path, SMALL, "cpu")


def test_a_wrong_number_of_channels_is_refused():
    settings = dataclasses.replace(SMALL, network=UNetConfig(in_channels=3))
    with pytest.raises(InputError, match="has 1 channel, but the network takes 3"):
        check_frames(dataclasses.replace(settings, training=TrainingConfig()), frames())


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU, or it is hidden, see conftest.py"
)
def test_a_gpu_trains_like_a_cpu_and_resumes(tmp_path):
    steady = dataclasses.replace(SMALL, network=UNetConfig(base_channels=4, depth=2, dropout=0.0))
    gpu = Engine(torch.device("cuda"))
    train(frames(), tmp_path / "cpu", steady, CPU)
    train(frames(), tmp_path / "gpu", steady, gpu, deadline=0)
    assert [line.iteration for line in read_log(tmp_path / "gpu")] == [4]
    train(frames(), tmp_path / "gpu", steady, gpu, resume=True)
    expected, found = (read_log(tmp_path / name) for name in ("cpu", "gpu"))
    assert [line.loss for line in found] == pytest.approx(
        [line.loss for line in expected], rel=0.01
    )
