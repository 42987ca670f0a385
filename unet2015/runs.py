"""The folder of a training run: its files, and how a run resumes where it stopped."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from .atomic import atomic_path, check_writable, lock, remove_leftovers
from .builtin import MODEL_FILE
from .checkpoint import Model, read_tensors, save_model, write_tensors
from .errors import InputError

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"
LOG_FILE = "log.csv"
CURVE_FILE = "loss.png"
LOCK_FILE = ".lock"
FORMAT = "unet2015 checkpoint 2"
INTERVAL = "training.interval"
"""The only setting that may change on resuming: the network does not depend on it."""
DATA = "data"
"""Name, among the settings, of the digest of the training set."""


class LogLine(NamedTuple):
    """A line of ``log.csv``: one interval of training."""

    iteration: int
    """Iterations done."""
    loss: float
    """Mean over the interval."""
    learning_rate: float
    """At the end of the interval."""
    validation_seg: float | None
    """SEG of the validation sequence, if there is one."""
    seconds: float
    """Time of the interval, validation excluded."""
    waiting_share: float
    """Share of that time spent waiting for tiles; a GPU may be busy meanwhile."""


class Run:
    """A folder with ``model.safetensors``, ``checkpoint.safetensors`` and ``log.csv``.

    A context manager that reserves the folder for one process by locking the file ``.lock``.

    Parameters
    ----------
    folder : Path
        Created if missing.
    settings : dict
        Everything that determines the result; a run resumes only under the same settings.
    resume : bool
        Whether to resume a run that is already in the folder.

    Raises
    ------
    InputError
        As in `check_folder`; on entering, if another process has the folder.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        check_folder(folder, resume)
        if resume and not (folder / CHECKPOINT_FILE).exists():
            logger.info("%s holds no checkpoint yet: starting from the beginning.", folder)
        self._lines: list[LogLine] = []
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)

    def __enter__(self) -> Self:
        self._lock = lock(self.folder / LOCK_FILE)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Restore network and optimizer from the last checkpoint.

        Returns
        -------
        int
            Number of iterations done; 0 without a checkpoint.

        Raises
        ------
        InputError
            If the settings of the run differ, or another version wrote the checkpoint.
        """
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            return 0
        tensors, metadata = read_tensors(path)
        before, now = dict(_flat(metadata.get("settings", {}))), dict(_flat(self.settings))
        if metadata.get("format") != FORMAT or before.keys() != now.keys():
            raise InputError(
                f"{path} is not a checkpoint of this version of unet2015: resume with the version "
                "that wrote it, or choose another folder."
            )
        _require_equal(self.folder, before, now)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                value.copy_(tensors[f"network.{name}"])
            for name, parameter in network.named_parameters():
                # Keep the parameter's memory format.
                momentum = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
                optimizer.state[parameter]["momentum_buffer"] = momentum
        self._lines = [LogLine(*line) for line in metadata["log"]]
        self._write_log()
        done, of = self._lines[-1].iteration, self.settings["training"]["iterations"]
        if done == of:
            logger.info(
                "the run in %s is complete: for more iterations, start anew in another folder, as "
                "the learning rate depends on their number from the start.",
                self.folder,
            )
        else:
            logger.info("resuming %s after iteration %d of %d.", self.folder, done, of)
        return done

    def save(self, model: Model, optimizer: torch.optim.Optimizer, line: LogLine) -> None:
        """Write the checkpoint, the model and a line of the log, each atomically."""
        state = model.network.state_dict()
        tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in state.items()}
        for name, parameter in model.network.named_parameters():
            tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
        self._lines.append(line)
        save_model(self.folder / MODEL_FILE, model)
        metadata = {"format": FORMAT, "settings": self.settings, "log": self._lines}
        write_tensors(self.folder / CHECKPOINT_FILE, tensors, metadata)
        self._write_log()  # rewritten from the checkpoint on resuming

    def _write_log(self) -> None:
        """Rewrite the log, or leave it to the next call if another program has it open."""
        path = self.folder / LOG_FILE
        try:
            with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(LogLine._fields)
                writer.writerows(self._lines)
        except PermissionError as error:
            logger.warning("%s cannot be written (%s): the checkpoint has its lines.", path, error)


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse a folder that a run must not or cannot be written to.

    Parameters
    ----------
    folder, resume
        As for `Run`.

    Raises
    ------
    InputError
        If the folder holds a run and `resume` is false, holds other files but no run to resume, or
        files that the run would replace, or is not writable.
    """
    begun, has_model, has_lock, has_curve = (
        (folder / name).exists() for name in (CHECKPOINT_FILE, MODEL_FILE, LOCK_FILE, CURVE_FILE)
    )
    if begun and not resume:
        raise InputError(
            f"{folder} already holds a training run: resume it with --resume (from Python, "
            "resume=True), or choose another folder."
        )
    if not begun:
        read_log(folder)  # raises if log.csv is not that of a run
    if has_model and not resume:
        raise InputError(
            f"{folder} already holds a model: choose another folder, or give --resume "
            "to replace it by a training from the beginning."
        )
    is_run = begun or has_model or has_lock
    if resume and not is_run and any(folder.glob("[!.]*")):
        raise InputError(
            f"{folder} holds other files but no run to resume: correct the folder, or omit "
            "--resume."
        )
    if has_curve and not is_run:
        raise InputError(
            f"{folder / CURVE_FILE} is not of a training run, which would replace it: choose "
            "another folder."
        )
    check_writable(folder / CHECKPOINT_FILE)  # better to fail now than at the first checkpoint


def read_log(folder: Path) -> list[LogLine]:
    """Read the lines of ``log.csv`` in the folder of a run, none if there is no log yet."""
    path = folder / LOG_FILE
    if not path.exists():
        return []
    try:
        with path.open(newline="") as lines:
            rows = csv.DictReader(lines)
            if rows.fieldnames != list(LogLine._fields):
                raise ValueError(rows.fieldnames)
            return list(_parse(rows))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not the log of a training run: choose another folder."
        ) from error


def _parse(rows: csv.DictReader[str]) -> Iterator[LogLine]:
    for row in rows:
        yield LogLine(
            iteration=int(row["iteration"]),
            loss=float(row["loss"]),
            learning_rate=float(row["learning_rate"]),
            validation_seg=float(row["validation_seg"]) if row["validation_seg"] else None,
            seconds=float(row["seconds"]),
            waiting_share=float(row["waiting_share"]),
        )


def _require_equal(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [
        _describe(name, before[name], now[name])
        for name in sorted(now.keys() - {INTERVAL})
        if before[name] != now[name]
    ]
    if changed:
        raise InputError(
            f"the run in {folder} was started with {' and '.join(changed)}: resume it with the "
            "same, or choose another folder."
        )


def _describe(name: str, before: Any, now: Any) -> str:
    """Describe a setting that differs from that of the run to resume."""
    if name == DATA:
        return "other images or labels"
    leaf = name.rpartition(".")[2]
    because = "which its schedule depends on from the start"
    return f"{leaf} = {before}, not {now}" + f", {because}" * (leaf == "iterations")


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
