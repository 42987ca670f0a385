"""Parameters of training (Sec. 3), and the learning rate and momentum of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .normalisation import Scheme


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    The batch of one image and the momentum at the end of training are the paper's (Sec. 3): "we use
    a high momentum (0.99) such that a large number of the previously seen training samples
    determine the update". The lower momentum before is ours. The learning rate, its schedule and
    the number of iterations are not published: they are ours, too, chosen for a loss that is
    divided by the sum of its weights.
    """

    momentum: float = 0.99
    """Momentum of stochastic gradient descent at the end of training, above 0 and below 1."""
    first_momentum: float = 0.9
    """Momentum at the start, above 0 and below 1; starting at 0.99, short runs learn less. Ours."""
    tile: int = 572
    """Height and width of the training tiles in pixels, a valid input size (Fig. 1)."""
    iterations: int = 6000
    """Training steps, one tile each. Ours."""
    learning_rate: float = 5e-3
    """Learning rate at the final momentum; it scales with 1 - momentum, so that at 0.9 it is ten
    times that at 0.99. Ours."""
    warmup: int = 100
    """Iterations over which the learning rate rises from 0; then it falls along a cosine. Ours."""
    clip_norm: float = 1.0
    """Norm to which longer gradients are clipped, above 0; inf disables clipping. Ours."""
    class_balance: float = 0.1
    """w_c is proportional to the class's frequency to the power of minus this, from 0 for equal
    weights to 1 for full balance. The paper (Sec. 3) does not say how far it balances. Ours."""
    ridge: int = 3
    """Width in pixels, odd, of the ridge of background cut between touching cells; 1 for tiny
    cells, 0 cuts none. Ours: the paper computes it "using morphological operations" (Sec. 3) of
    unstated width."""
    margin: int = 0
    """Width in pixels of the border outside the field of interest, where only cells that reach into
    the field are annotated: background there is learned only near such cells. 50 for most data sets
    of the Cell Tracking Challenge."""
    normalisation: Scheme = "standard"
    """How images are scaled: standard, to mean 0 and standard deviation 1; minmax, minimum to 0 and
    maximum to 1; range, the largest value of the integer type to 1, floats in [0, 1] unchanged."""
    interval: int = 250
    """Iterations between checkpoints, validations and lines of log.csv."""
    seed: int = 0
    """Seed of the initial weights, the tiles and the drop-out; 0 or more."""


def learning_rate(config: TrainingConfig, iteration: int) -> float:
    """Learning rate of an iteration, counted from 0: a linear rise, then half a cosine to 0.

    At a lower momentum each gradient has less effect in total; a higher rate compensates for that.
    """
    rise = min(1.0, (iteration + 1) / max(config.warmup, 1))
    past = max(iteration - config.warmup, 0) / max(config.iterations - config.warmup, 1)
    makes_up = (1 - momentum(config, iteration)) / (1 - config.momentum)
    return config.learning_rate * makes_up * rise * (1 + math.cos(math.pi * past)) / 2


def momentum(config: TrainingConfig, iteration: int) -> float:
    """Momentum of an iteration: 1 / (1 - momentum), the steps averaged over, rises geometrically.

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013,
    found that a high momentum must be approached gradually.
    """
    first, last = 1 - config.first_momentum, 1 - config.momentum
    return 1 - first * (last / first) ** (iteration / config.iterations)
