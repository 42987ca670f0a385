"""Work done while the caller does something else."""

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
    """Apply a function to items in threads of its own; results keep the order of the items.

    Both ways of overlapping are this function: where the caller is slower, results are made ahead
    of it (reading); where `items` are slower, they are worked off behind it (writing).

    Parameters
    ----------
    function : callable
        Runs in the threads.
    items : iterable
        Taken in the caller's thread.
    waiting : int
        So many items are worked on or done while the caller has one, which bounds the memory.
    threads : int
        With one, the items are worked on in their order, one at a time.

    Yields
    ------
    (Item, Result)
        Each item with its result. An error of the function is raised here.
    """
    pool = ThreadPoolExecutor(threads)
    future: Future[Result] | None = None
    try:
        begun = ((item, pool.submit(function, item)) for item in items)
        for item, future in lagging(begun, waiting):
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        future = None  # whose error knows this frame: neither would go


def lagging(items: Iterable[Item], count: int) -> Generator[Item]:
    """Give items when so many more have been taken: what has begun goes on in the meantime."""
    taken: deque[Item] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken
