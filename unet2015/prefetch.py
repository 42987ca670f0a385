"""Work in threads while the caller does something else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_thread(
    function: Callable[[Item], Result], items: Iterable[Item], waiting: int = 2, threads: int = 1
) -> Generator[tuple[Item, Result]]:
    """Apply a function to items in threads; results keep the order of the items.

    This overlaps work both ways: where the caller is slower, results are prepared ahead of it
    (reading); where `items` are slower, they are processed behind it (writing).

    Parameters
    ----------
    function : callable
        Runs in the threads.
    items : iterable
        Consumed in the caller's thread.
    waiting : int
        Items in progress or done while the caller uses one; this bounds the memory.
    threads : int
        With one, items are processed in order, one at a time.

    Yields
    ------
    (Item, Result)
        Each item with its result. Exceptions of the function are raised here.
    """
    pool = ThreadPoolExecutor(threads)
    future: Future[Result] | None = None
    try:
        pending = ((item, pool.submit(function, item)) for item in items)
        for item, future in lagging(pending, waiting):
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        future = None  # its exception refers to this frame: break the cycle


def lagging(items: Iterable[Item], count: int) -> Generator[Item]:
    """Yield each item once `count` more have been taken, so that work begun on them overlaps."""
    taken: deque[Item] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken
