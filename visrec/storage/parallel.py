"""Work in parallel with bounded memory: results come as they arrive, and one failure never ends the rest.

Only a window of work is in flight at any time, so a slow consumer holds back the producers instead of filling
the memory.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def results(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    window: int | None = None,
    stop: Callable[[], bool] | None = None,
    wait: bool = False,
) -> Iterator[tuple[Item, Result | Exception]]:
    """``(item, work(item))`` for each item, in order of arrival; an exception takes the place of its result.

    Parameters
    ----------
    threads : how many run at once
    window : how many may be started and not yet consumed; default four per thread
    stop : asked between results; True ends the iteration
    wait : when the iteration ends early, return only after the work that runs has ended: for work that writes to what
        the caller is about to close. Work that may stall is better left to itself.

    Examples
    --------
    >>> sorted(results(lambda n: n * n, [1, 2, 3], threads=2))
    [(1, 1), (2, 4), (3, 9)]
    """
    source = iter(items)
    limit = window or 4 * threads
    arrived: SimpleQueue[Future] = SimpleQueue()
    pool = ThreadPoolExecutor(threads)
    try:
        pending: dict[Future, Item] = {}
        while not (stop and stop()):
            for item in islice(source, limit - len(pending)):
                future = pool.submit(work, item)
                pending[future] = item
                future.add_done_callback(arrived.put)
            if not pending:
                return
            try:
                # the timeout lets `stop` be heard while every read is stalled
                future = arrived.get(timeout=0.5)
            except Empty:
                continue
            item, error = pending.pop(future), future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield item, future.result() if error is None else error
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)
