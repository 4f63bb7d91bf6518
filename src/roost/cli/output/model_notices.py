"""Lines about the model that a first run prepares: its download and its export take long and happen once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Name of the logger of all modules that prepare models; they log at level INFO what takes long.
LOGGER = "roost.tasks.models"


class _Passing(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the message."""
        self._tell(record.getMessage())


@contextmanager
def model_notices(tell: Callable[[str], None]) -> Iterator[None]:
    """Call a function with each line about the preparation of a model inside the context.

    Args:
        tell: Receives one line; called in the thread that prepares the model.
    """
    logger, handler = logging.getLogger(LOGGER), _Passing(tell)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
