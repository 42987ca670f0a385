import gc
import threading
import weakref
from contextlib import suppress
from itertools import islice

import pytest

from unet2015.prefetch import in_thread, lagging


def test_results_come_in_order_from_another_thread():
    found = list(in_thread(lambda n: (n * n, threading.get_ident()), range(20)))
    assert [(n, result[0]) for n, result in found] == [(n, n * n) for n in range(20)]
    assert {result[1] for _, result in found} - {threading.get_ident()} == {found[0][1][1]}


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_only_a_limited_number_of_items_is_taken_ahead(waiting):
    taken = []

    def items():
        for n in range(20):
            taken.append(n)
            yield n

    results = in_thread(str, items(), waiting)
    assert len(list(islice(results, 5))) == 5
    assert len(taken) == 5 + waiting


def test_work_continues_while_the_caller_is_busy():
    second = threading.Event()
    results = in_thread(lambda n: second.set() if n == 1 else None, range(3))
    next(results)
    assert second.wait(5)


def test_an_error_is_raised_where_its_result_is_due():
    results = in_thread(lambda n: 1 / (3 - n), range(9))
    assert len(list(islice(results, 3))) == 3
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_several_threads_keep_the_order():
    meet = threading.Barrier(3)

    def together(number):
        meet.wait(10)  # passes only if three run at once
        return -number

    found = list(in_thread(together, range(9), waiting=6, threads=3))
    assert found == [(number, -number) for number in range(9)]


def test_lagging_takes_items_ahead_of_yielding_them():
    taken = []

    def items():
        for n in range(5):
            taken.append(n)
            yield n

    assert [(n, len(taken)) for n in lagging(items(), 1)] == [
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 5),
    ]
    taken.clear()
    assert [(n, len(taken)) for n in lagging(items(), 0)] == [(n, n + 1) for n in range(5)]


def test_an_error_does_not_keep_items_alive():
    class Held:
        """An item that is handed to the thread."""

    def fail(_):
        raise ValueError

    gc.disable()
    try:
        held = Held()
        there = weakref.ref(held)
        with suppress(ValueError):
            list(in_thread(fail, iter([held])))
        del held
        assert there() is None
    finally:
        gc.enable()
