"""Training (Sec. 3): stochastic gradient descent with high momentum, one large tile at a time."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoint import Model
from .datasets.checks import require_cells, warn_of_doubts, warn_of_strays
from .datasets.frames import AnnotatedFrame, digest, smallest_cell
from .engines.backends import runner
from .engines.device import PASSES, Engine, check_engine, choose_engine
from .errors import InputError
from .initialisation import adapt
from .instances import SMALLEST
from .loss import weighted_cross_entropy
from .prefetch import in_thread
from .progress import Progress
from .runs import DATA, LogLine, Run
from .samples import TrainingFrame, prepare, random_sample
from .schedule import TrainingConfig, learning_rate, momentum
from .settings import Settings, check, check_frames
from .unet import UNet

logger = logging.getLogger(__name__)

MAX_LOSS = 1000.0
"""A loss above this has diverged; it starts near 1."""
ADAPTATION_TILES = 4
"""Number of tiles that the initial weights are adapted to."""
CHECK_EVERY = 10
"""Iterations between checks of the loss; each makes a GPU wait."""


def train(
    frames: Sequence[AnnotatedFrame],
    folder: Path | str,
    settings: Settings,
    engine: Engine | None = None,
    *,
    resume: bool = False,
    validate: Callable[[Model], float] | None = None,
    deadline: float = math.inf,
    build: Callable[..., UNet] = UNet,
) -> Model:
    """Train a network, and write its model, checkpoint and log to a folder.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        The training set.
    folder : Path or str
        For ``model.safetensors``, ``checkpoint.safetensors`` and ``log.csv``; created if missing.
    settings : Settings
        Network, training, augmentation and weight map.
    engine : Engine, optional
        Device and precision; by default those of `choose_engine`.
    resume : bool
        Resume the run in the folder. The result is that of an uninterrupted run; on a CPU with
        the same number of threads, to the last bit.
    validate : callable, optional
        Returns the validation SEG of a model, for the log; called at each interval.
    deadline : float
        Time of `time.monotonic` after which the run stops at the next checkpoint, to be resumed.
    build : callable
        Builds the network from the fields of `UNetConfig`; for experiments with other networks.

    Returns
    -------
    Model
        The network in evaluation mode, only partly trained after `deadline`.

    Raises
    ------
    InputError
        If there is no cell, the settings are invalid, the folder holds another run, or the loss
        diverges.
    """
    frames, engine = list(frames), choose_engine() if engine is None else engine
    check_engine(engine)
    if not all(isinstance(frame, AnnotatedFrame) for frame in frames):
        raise InputError("train takes frames made by `annotated_frame` of image and labels.")
    check(settings)
    check_frames(settings, frames)
    require_cells(frames, "the training set")
    warn_of_doubts(frames)
    warn_of_strays(frames)
    config = settings.training
    with torch.random.fork_rng([engine.device] if engine.device.type == "cuda" else []):
        torch.manual_seed(config.seed % 2**63)
        network = build(**dataclasses.asdict(settings.network)).float()
        network.output_size(config.tile)  # raises if the tile is not valid
        engine.place(network, training=True)
        known = {"precision": engine.precision, DATA: digest(frames)}
        with Run(Path(folder), {**dataclasses.asdict(settings), **known}, resume) as run:
            step = _Step(network, config, engine)
            start = run.restore(network, step.optimizer)
            prepared, classes = prepare(frames, config, settings.weight_map)
            logger.info("class weights: foreground %.3g, background %.3g", *classes)
            tiles = _Tiles(prepared, settings, network.border, start, engine)
            if start == 0:
                adapt(network, tiles.example().to(engine.device))
            names = [frame.name for frame in frames]
            trained = {**run.settings, "class_weights": list(classes), "frames": names}
            least = int(SMALLEST * smallest_cell(frames))
            if least > 1:
                logger.info("cells of fewer than %d pixels will be dropped in prediction", least)
            else:
                logger.info("no cell will be dropped in prediction, however small")
            model = Model(network, config.normalisation, min_size=least, settings=trained)
            _iterate(run, model, step, tiles, validate, deadline)
    network.eval()
    return model


def _iterate(
    run: Run,
    model: Model,
    step: _Step,
    tiles: _Tiles,
    validate: Callable[[Model], float] | None,
    deadline: float,
) -> None:
    """Train on one tile after the other, and write a checkpoint at each interval."""
    config, start = step.config, tiles.start
    losses: list[Tensor] = []
    began = time.perf_counter()
    with Progress(total=config.iterations, initial=start, desc="training", unit="it") as bar:
        for done, sample in enumerate(tiles, start + 1):
            losses.append(step(done - 1, sample))
            bar.update()
            at_interval = done % config.interval == 0 or done == config.iterations
            if done % CHECK_EVERY == 0 or at_interval:
                loss = _mean_loss(losses[-CHECK_EVERY:], done, config)
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            if at_interval:
                seconds = time.perf_counter() - began
                line = LogLine(
                    iteration=done,
                    loss=_mean_loss(losses, done, config),
                    learning_rate=learning_rate(config, done - 1),
                    validation_seg=_validate(validate, model, done),
                    seconds=round(seconds, 2),
                    waiting_share=round(tiles.waited / seconds, 4),
                )
                run.save(model, step.optimizer, line)
                losses.clear()
                tiles.waited, began = 0.0, time.perf_counter()
                if time.monotonic() >= deadline:
                    break


class _Step:
    """One step of stochastic gradient descent."""

    def __init__(self, network: UNet, config: TrainingConfig, engine: Engine) -> None:
        self.parameters = list(network.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.0, momentum=config.momentum)
        pixels = PASSES * config.iterations * config.tile**2
        pays = engine.compiling_pays(pixels, network.config.base_channels)
        self.run = runner(network.train(), engine.dtype, "compile" if pays else "torch")
        self.config, self.engine = config, engine

    def __call__(self, iteration: int, sample: Sequence[Tensor]) -> Tensor:
        """Take the step; return the loss on the device, infinite if the gradient is not finite."""
        image, target, weight = (part.to(self.engine.device, non_blocking=True) for part in sample)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, iteration)
            group["momentum"] = momentum(self.config, iteration)
        try:
            loss = self._gradients(iteration, image, target, weight)
        except Exception as error:  # the backward pass is compiled the first time it runs
            if not self.run.fall_back(error):
                raise
            loss = None
        if loss is None:  # not above, where the error would keep the maps of the failed attempt
            loss = self._gradients(iteration, image, target, weight)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimizer.step()
        return torch.where(norm.isfinite(), loss.detach(), math.inf)

    def _gradients(self, iteration: int, image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss and its gradients."""
        # Drop-out depends only on seed and iteration, so that a resumed run repeats it.
        torch.manual_seed((self.config.seed * 1_000_003 + iteration) % 2**63)
        with self.engine.autocast():
            logits = self.run(image.to(memory_format=self.engine.memory_format(training=True)))
        loss = weighted_cross_entropy(logits, target, weight)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss


class _Tiles:
    """Training tiles from an iteration on, prepared in threads; measures the time spent waiting.

    Each tile depends only on the seed and the iteration.
    """

    def __init__(
        self,
        frames: Sequence[TrainingFrame],
        settings: Settings,
        border: int,
        start: int,
        engine: Engine,
    ) -> None:
        self.frames, self.settings, self.border = frames, settings, border
        self.start, self.on_gpu = start, engine.device.type == "cuda"
        self.waited = 0.0

    def __iter__(self) -> Iterator[Sequence[Tensor]]:
        iterations = range(self.start, self.settings.training.iterations)
        threads = min(max((os.cpu_count() or 1) - 1, 1), 8) if self.on_gpu else 1
        with closing(in_thread(self._make, iterations, 2 * threads, threads)) as tiles:
            while True:
                start = time.perf_counter()
                item = next(tiles, None)
                self.waited += time.perf_counter() - start
                if item is None:
                    return
                yield item[1]

    def example(self) -> Tensor:
        """Images of the first tiles, shape (tiles, channels, height, width)."""
        return torch.cat([self._make(iteration)[0] for iteration in range(ADAPTATION_TILES)])

    def _make(self, iteration: int) -> Sequence[Tensor]:
        training = self.settings.training
        generator = np.random.default_rng((training.seed, iteration))
        sample = random_sample(
            self.frames, training.tile, self.border, self.settings.augmentation, generator
        )
        tensors = [torch.from_numpy(part)[None] for part in sample]
        return [tensor.pin_memory() for tensor in tensors] if self.on_gpu else tensors


def _mean_loss(losses: list[Tensor], done: int, config: TrainingConfig) -> float:
    """Mean of some losses; raises if it shows that training has diverged."""
    loss = float(torch.stack(losses).mean())
    if not loss < MAX_LOSS:
        raise InputError(
            f"training has diverged, with a loss of {loss:.3g} after {done} iterations: lower "
            f"--learning-rate (now {config.learning_rate:g}), lengthen --warmup, or use a larger "
            f"--tile (now {config.tile})."
        )
    return loss


def _validate(validate: Callable[[Model], float] | None, model: Model, done: int) -> float | None:
    if validate is None:
        return None
    # A copy: prediction changes the memory format, and with it the last digits of training.
    score = float(validate(dataclasses.replace(model, network=copy.deepcopy(model.network).eval())))
    logger.info("%d iterations: validation SEG %.4f", done, score)
    return score
