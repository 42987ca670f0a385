"""Everything that determines a training run, and the rules for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from . import augment, normalisation, unet
from .augment import AugmentationConfig
from .datasets.frames import AnnotatedFrame
from .errors import InputError, counted
from .metrics.overlap import check_margin
from .schedule import TrainingConfig
from .unet import UNetConfig
from .weightmap import WeightMapConfig, check_balance, check_config, check_ridge


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run, apart from its data and precision."""

    network: UNetConfig = field(default_factory=UNetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    weight_map: WeightMapConfig = field(default_factory=WeightMapConfig)


def check(settings: Settings) -> None:
    """Refuse invalid settings, before any time is spent on them."""
    if not isinstance(settings, Settings):
        raise InputError(
            f"the settings are a {type(settings).__name__}: put it into Settings, as in "
            "Settings(training=TrainingConfig(tile=380))."
        )
    for name, default in vars(Settings()).items():
        part, kind = getattr(settings, name), type(default)
        if not isinstance(part, kind):
            raise InputError(f"{name} is {type(part).__name__}: it must be {kind.__name__}.")
        _check_numbers(part)
    config = settings.training
    for name, least in [("iterations", 1), ("interval", 1), ("warmup", 0), ("seed", 0)]:
        value = getattr(config, name)
        if value < least:
            raise InputError(f"{name} is {value}: it must be at least {least}.")
    if not 0 < config.learning_rate < math.inf:
        raise InputError(f"learning_rate is {config.learning_rate}: it must be above 0 and finite.")
    if not config.clip_norm > 0:
        raise InputError(f"clip_norm is {config.clip_norm}: it must be above 0; inf clips nothing.")
    for name in ("momentum", "first_momentum"):
        if not 0 < getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}: it must be above 0 and below 1.")
    check_balance(config.class_balance)
    check_ridge(config.ridge)
    normalisation.check(config.normalisation)
    check_config(settings.weight_map)
    unet.check(settings.network)
    if settings.network.num_classes != 2:
        raise InputError(
            f"num_classes is {settings.network.num_classes}: it must be 2, background and cells."
        )
    augment.check(settings.augmentation)


def _check_numbers(part: Any) -> None:
    """Refuse anything but Python's own numbers, which are what checkpoints can hold."""
    for each in fields(part):
        wanted = {"int": int, "float": int | float}.get(str(each.type))
        value = getattr(part, each.name)
        if wanted is not None and not isinstance(value, wanted):
            raise InputError(
                f"{each.name} is {value!r}: give {'an' if each.type == 'int' else 'a'} {each.type}."
            )


def check_frames(settings: Settings, frames: Sequence[AnnotatedFrame]) -> None:
    """Refuse frames that do not suit the settings."""
    for frame in frames:
        check_margin(settings.training.margin, frame.labels.shape, frame.name)
        if len(frame.image) != settings.network.in_channels:
            raise InputError(
                f"{frame.name} has {counted(len(frame.image), 'channel')}, but the network takes "
                f"{settings.network.in_channels}: give all images the same number, for example by "
                "converting them to grey; in Python it is the in_channels of UNetConfig."
            )
        # Raises if its pixels cannot be normalised.
        stats = normalisation.statistics(frame.image, frame.name)
        normalisation.fit(settings.training.normalisation, stats, frame.image.dtype, frame.name)
