"""Messages and progress of a stage."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO, TypeVar

from cytopipe.files import InputError

T = TypeVar("T")
logger = logging.getLogger("cytopipe")


def configure(path: str | Path | None, *, quiet: bool = False) -> None:
    """Send messages to standard error and to a log file, if there is one.

    If `quiet`, only errors are sent. An error that ends the process is logged last.
    """
    handlers: list[logging.Handler] = [_StandardError()]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    sys.excepthook = _log_error


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: tests and notebooks exchange it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def info(message: str) -> None:
    """Write one line to the log."""
    logger.info(message)


def only_errors() -> None:
    """From now on, log no messages but the error that ends the process."""
    logger.setLevel(logging.ERROR)


def progress(items: Iterable[T], total: int, doing: str, every_s: float = 10.0) -> Iterator[T]:
    """Yield `items` and log every `every_s` how many are done and how long the rest will take."""
    start = logged = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - logged > every_s:
            left_s = (now - start) / done * (total - done)
            info(f"{doing}: {done} of {total}, about {left_s:.0f} s left")
            logged = now
        yield item
    info(f"{doing}: {total} in {time.monotonic() - start:.0f} s")


def _log_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, InputError):
        logger.error("error: %s", error)
    else:
        logger.error("stopped by an error", exc_info=(kind, error, trace))
