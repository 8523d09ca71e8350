"""A progress bar on standard error: how far, how long still. Nothing is drawn where nobody looks (no terminal)."""

import sys
import time

WIDTH = 30


class Bar:
    """Call it with (done, total); use it as a context, so that the line is ended.

    Parameters
    ----------
    title : what is going on
    stream : where to draw; default standard error
    """

    def __init__(self, title: str, stream=None):
        self.title, self.stream = title, stream or sys.stderr
        self._shown = self._started = 0.0
        self._first = 0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_) -> None:
        if self._shown:
            self.stream.write("\n")

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._started:
            self._started, self._first = now, done
        if not self.stream.isatty() or (now - self._shown < 0.1 and done < total):
            return
        self._shown = now
        self.stream.write("\r" + line(self.title, done, total, now - self._started, done - self._first) + "\x1b[K")
        self.stream.flush()


def line(title: str, done: int, total: int, seconds: float, since: int) -> str:
    """One line: title, bar, counts, time left from the rate of the ``since`` items done in ``seconds``.

    >>> line("Reading", 50, 100, 10.0, 50)
    'Reading [###############               ] 50/100, 10 s left'
    """
    filled = WIDTH * done // total if total else WIDTH
    left = f", {seconds / since * (total - done):.0f} s left" if since and done < total else ""
    return f"{title} [{'#' * filled}{' ' * (WIDTH - filled)}] {done:,}/{total:,}{left}"
