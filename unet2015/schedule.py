"""How the network is trained (Sec. 3): its numbers, and the rate and momentum of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .normalisation import Scheme


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    Momentum and the batch of one image are the paper's (Sec. 3): "we use a high momentum (0.99)
    such that a large number of the previously seen training samples determine the update". The
    learning rate, its schedule and the number of iterations are in no source: they are ours, chosen
    for a loss that is divided by the sum of its weights.
    """

    momentum: float = 0.99
    """Momentum of the stochastic gradient descent at the end of the training."""
    first_momentum: float = 0.9
    """Momentum at the start; a run of few thousand steps gets nowhere with 0.99 at once. Ours."""
    tile: int = 572
    """Height and width of the training tiles in pixels, a valid input size (Fig. 1)."""
    iterations: int = 6000
    """Training steps, one tile each. Ours."""
    learning_rate: float = 5e-3
    """Learning rate at the final momentum; at a lower one it makes up for that, ten times the rate
    at 0.9 for 0.99. Ours."""
    warmup: int = 100
    """Iterations in which the learning rate rises from 0; then it falls along a cosine. Ours."""
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it; inf lets them be. Ours."""
    class_balance: float = 0.1
    """w_c goes with the classes' frequencies to the power of minus this, 1 being full balance.
    The paper balances (Sec. 3) and does not say how far. Ours."""
    ridge: int = 3
    """Width in pixels of the ridge of background that is cut where cells touch, odd; 1 for cells of
    few pixels. Ours: the paper computes it "using morphological operations" (Sec. 3) of no given
    width."""
    margin: int = 0
    """Width in pixels of the border outside the field of interest, where only cells that reach into
    the field are annotated: background there is learned only near such cells. 50 for most sets of
    the Cell Tracking Challenge."""
    normalisation: Scheme = "standard"
    """How images are scaled: to mean 0 and deviation 1, by least and greatest value, by type."""
    interval: int = 250
    """Iterations between checkpoints, validations and lines of log.csv."""
    seed: int = 0
    """Determines the initial weights, the tiles and the drop-out."""


def learning_rate(config: TrainingConfig, iteration: int) -> float:
    """Learning rate of an iteration, counted from 0: a linear rise, then half a cosine to 0.

    While the momentum is lower, each gradient counts for less in all; the rate makes up for that.
    """
    rise = min(1.0, (iteration + 1) / max(config.warmup, 1))
    past = max(iteration - config.warmup, 0) / max(config.iterations - config.warmup, 1)
    makes_up = (1 - momentum(config, iteration)) / (1 - config.momentum)
    return config.learning_rate * makes_up * rise * (1 + math.cos(math.pi * past)) / 2


def momentum(config: TrainingConfig, iteration: int) -> float:
    """Momentum of an iteration: the number of steps that it averages over rises geometrically.

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013,
    found that a high momentum must be approached; 1 / (1 - momentum) is the number of steps.
    """
    first, last = 1 - config.first_momentum, 1 - config.momentum
    return 1 - first * (last / first) ** (iteration / config.iterations)
