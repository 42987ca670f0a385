"""Compute tiles on the workers of a Dask cluster that share a file system.

Each worker loads the model once, reads its own tiles of the image and writes its own chunks of the
scratch store. Only this process writes the ledger, so a worker that dies costs only its own tiles.

On a SLURM cluster, a short script starts workers with dask-jobqueue (pip install it) and prints the
address for ``unet2015 predict --scheduler``::

    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(cores=8, processes=1, memory="16GB", walltime="04:00:00")
    cluster.scale(jobs=10)
    print(cluster.scheduler_address)
    input("Press Enter to stop the cluster")

Image, model and result must be in folders that have the same path on all machines.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from ..builtin import find_model
from ..checkpoint import Model, digest, load_model
from ..engines.device import Engine
from ..errors import InputError, UnreachableError
from ..images import open_image
from ..images.fingerprint import image_state
from ..tiles import TileGrid
from .results import Result
from .scratch import ScratchPixels
from .tasks import Task, Work, compute, plane_statistics, statistics_key, unfinished

logger = logging.getLogger(__name__)

BATCH = 4
"""Tiles sent to a worker at once: enough to overlap reading, network and writing."""

ONE_AT_A_TIME = threading.Lock()
"""A worker with several threads computes one batch at a time: the network uses all its cores."""

CONNECT_TIMEOUT = "10s"
"""Timeout for the scheduler to answer."""

FINISH_TIMEOUT = 60.0
"""Seconds that workers have to finish their current tiles when a run ends early."""


DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Code that makes a local worker ignore Ctrl-C. The terminal sends it to workers, too, but only the
command should react to it: it lets workers finish their tiles."""


class Recipe(NamedTuple):
    """A `Task` and its store in the form sent to workers: by path."""

    image: Path
    state: str
    """The image's fingerprint: workers outlive a command, and the image may change between two."""
    channels: tuple[int, ...]
    model: Path
    digest: str
    engine: Engine
    grid: TileGrid
    result: Result
    pixels: Path
    threads: int | None


class Cluster:
    """Dask workers. A context manager.

    Parameters
    ----------
    model : Path
        The model's file, which the workers load.
    scheduler : str, optional
        Address of a running cluster's scheduler.
    workers : int, optional
        Number of workers, of one thread each, to start on this machine if no `scheduler` is given.

    Raises
    ------
    InputError
        If Dask is not installed or the scheduler does not answer.
    """

    def __init__(
        self, model: Path, scheduler: str | None = None, workers: int | None = None
    ) -> None:
        distributed = _import_distributed()
        self._model = find_model(model).resolve()
        self._distributed = distributed
        self._local = None
        self._threads = None
        self.processes = 1  # that share this machine's memory, as far as is known
        if scheduler is None:
            assert workers is not None
            self._threads = max(1, torch.get_num_threads() // workers)
            self._local = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                preload=[DEAF],
                dashboard_address="127.0.0.1:0",  # any free port: Dask warns if 8787 is taken
                scheduler_kwargs={"dashboard": False},
            )
            self.processes = len(self._local.workers)
        try:
            self._client = distributed.Client(self._local or scheduler, timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler answers at {scheduler}: check the address ({error})."
            ) from error

    def compute(
        self,
        task: Task,
        state: str,
        items: Iterable[Work],
        pixels: ScratchPixels,
        ledger: MutableMapping[str, Any],
        progress: Callable[[int], object],
    ) -> None:
        """Like `tasks.compute`, on the workers; `state` is the image's fingerprint."""
        path = task.image.path
        recipe = Recipe(
            path.parent.resolve().joinpath(path.name),  # the target of a link may lack the suffix
            state,
            task.channels,
            self._model,
            digest(task.model),
            task.engine,
            task.grid,
            task.result,
            pixels.path.resolve(),
            self._threads,
        )
        batches = _batches(unfinished(items, ledger, progress))
        futures: dict[Any, list[Work]] = {}
        finished = self._distributed.as_completed()

        def submit() -> None:
            # Enough that no worker waits, but not all, since there may be many. The number of
            # workers may change.
            wanted = 4 * max(1, sum(self._client.nthreads().values()))
            for batch in islice(batches, max(0, wanted - len(futures))):
                known = {}
                for plane in {work.plane for work in batch}:
                    plane_statistics(task, plane, ledger)
                    known[statistics_key(plane)] = ledger[statistics_key(plane)]
                future = self._client.submit(compute_batch, recipe, known, batch, pure=False)
                futures[future] = batch
                finished.add(future)

        try:
            with self._explain_loss():
                submit()
                for future in finished:
                    future.result()
                    for work in futures.pop(future):
                        ledger[work.key] = None
                        progress(work.tile.height * work.tile.width)
                    submit()
        finally:
            if futures:
                self._wait_for(list(futures), pixels.path)

    @contextmanager
    def _explain_loss(self) -> Iterator[None]:
        """Turn the loss of workers or scheduler into errors that say how to resume."""
        try:
            yield
        except self._distributed.KilledWorker as error:
            raise InputError(
                "the workers died repeatedly, perhaps for lack of memory: give them more and "
                "repeat the command, which resumes where it stopped, or start over with a "
                "smaller --tile and --overwrite."
            ) from error
        except InputError:
            raise
        except Exception as error:  # its type depends on what the client was doing
            gone = isinstance(error, (CancelledError, self._distributed.comm.CommClosedError))
            if self._client.status == "running" and not gone:
                raise
            raise InputError(
                "the Dask scheduler is gone: start another and repeat the command, which resumes "
                "where it stopped."
            ) from error

    def _wait_for(self, futures: list[Any], written: Path) -> None:
        """Cancel batches, and wait for those being computed, which write to a folder."""
        logger.info("waiting for workers to finish their current tiles.")
        # In a thread, since waiting for an unresponsive worker never ends. Its late writes do no
        # harm: a resumed run writes the same values, any other has its own array.
        thread = threading.Thread(target=self._cancel, args=(futures,), daemon=True)
        thread.start()
        thread.join(FINISH_TIMEOUT)
        if thread.is_alive():
            logger.warning(
                "a Dask worker has not finished its tiles and may still write to %s.", written
            )

    def _cancel(self, futures: list[Any]) -> None:
        """Cancel batches, and wait for those being computed."""
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel(futures)
            self._client.run(wait_for_tasks, {future.key for future in futures})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._local is not None:
            # On a busy machine workers end too slowly and are killed, which does no harm here.
            logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
            self._local.close()


def compute_batch(recipe: Recipe, statistics: dict[str, Any], items: list[Work]) -> None:
    """Compute some tiles; runs on a worker."""
    with ONE_AT_A_TIME:
        task, pixels = _open_recipe(recipe)
        compute(task, items, pixels, dict(statistics))


async def wait_for_tasks(keys: set[str], dask_worker: Any) -> None:
    """Wait until a worker computes none of these batches: cancelling does not stop running ones.

    Dask passes the worker because of the parameter's name.
    """
    while any(task.key in keys for task in dask_worker.state.all_running_tasks):
        await asyncio.sleep(0.1)


def _import_distributed() -> Any:
    """Import Dask's package, with only its warnings logged unless its configuration differs."""
    try:
        config = importlib.import_module("dask.config")
        configured = {"logging", "logging-file-config"} & config.config.keys()
        with nullcontext() if configured else config.set({"logging": {"distributed": "warning"}}):
            return importlib.import_module("distributed")
    except ImportError as error:
        raise InputError(
            "Dask is not installed: install unet2015 with the extra [dask], in a clone of its "
            'repository with `pip install ".[dask]"`.'
        ) from error


@lru_cache(maxsize=1)
def _load_model(path: Path, expected: str) -> Model:
    """Load the model, once in each worker."""
    model = load_model(path)
    if digest(model) != expected:
        raise InputError(f"{path} is not the same file on all machines: copy it again.")
    return model


@lru_cache(maxsize=1)
def _open_recipe(recipe: Recipe) -> tuple[Task, ScratchPixels]:
    """Open the files of a recipe, once in each worker."""
    if recipe.engine.device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("a worker has no GPU, but this machine does: give --device cpu.")
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    model = _load_model(recipe.model, recipe.digest)
    if image_state(recipe.image) != recipe.state:
        raise UnreachableError(
            f"{recipe.image} is not the same on all machines, or has just changed: repeat the "
            "command once all see the same file."
        )
    image = open_image(recipe.image)
    task = Task(image, recipe.channels, model, recipe.engine, recipe.grid, recipe.result)
    return task, ScratchPixels(recipe.pixels)


def _batches(items: Iterator[Work]) -> Iterator[list[Work]]:
    while batch := list(islice(items, BATCH)):
        yield batch
