"""What the library logs: a sentence, and its fields as one dict under one key of the record. No line of ours raises.

The fields have a key of their own since `logging` refuses a field that the record has already, and the bot's own record factory
may give every record an `account` or an `event`.
"""

from __future__ import annotations

import logging
from typing import Any

FIELDS = "audit"  # the key in `extra`
_CALLER = 3  # frames up: who called `info` and its like


class Log:
    """A logger of the standard library's, by its name."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    @property
    def level(self) -> int:
        """What it takes, of `logging`'s levels."""
        return self._logger.getEffectiveLevel()

    def debug(self, words: str, /, *values: object, event: str, **fields: object) -> None:
        """words, values: as `logging` has them. event: what happened, by a name that stays. fields: what goes beside it."""
        _say(self._logger, logging.DEBUG, words, values, None, {"event": event, **fields})

    def info(self, words: str, /, *values: object, event: str, **fields: object) -> None:
        """As `debug`."""
        _say(self._logger, logging.INFO, words, values, None, {"event": event, **fields})

    def warning(self, words: str, /, *values: object, event: str, **fields: object) -> None:
        """As `debug`."""
        _say(self._logger, logging.WARNING, words, values, None, {"event": event, **fields})

    def error(
        self, words: str, /, *values: object, event: str, trace: BaseException | None = None, **fields: object
    ) -> None:
        """As `debug`. trace: the exception whose place is worth knowing."""
        _say(self._logger, logging.ERROR, words, values, trace, {"event": event, **fields})


def _say(
    logger: logging.Logger,
    level: int,
    words: str,
    values: tuple[object, ...],
    trace: BaseException | None,
    fields: dict[str, Any],
) -> None:
    try:
        try:
            logger.log(level, words, *values, exc_info=trace, stacklevel=_CALLER, extra={FIELDS: fields})
        except KeyError as taken:
            if repr(FIELDS) not in str(taken):  # it is not what `logging` says of a field that is there already
                raise
            logger.log(level, words, *values, exc_info=trace, stacklevel=_CALLER)
    except Exception:  # noqa: S110  # a factory, a filter or a handler of the bot's: there is nobody left to tell
        pass


def pass_on(name: str, level: int, words: str, fields: dict[str, Any]) -> None:
    """A line that was made in another process, by the logger of that name."""
    _say(logging.getLogger(name), level, "%s", (words,), None, fields)
