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

    def debug(self, words: str, /, *values: object, event: str, **fields: object) -> None:
        """words, values: as `logging` has them. event: what happened, by a name that stays. fields: what goes beside it."""
        self._say(logging.DEBUG, words, values, None, {"event": event, **fields})

    def info(self, words: str, /, *values: object, event: str, **fields: object) -> None:
        """As `debug`."""
        self._say(logging.INFO, words, values, None, {"event": event, **fields})

    def warning(self, words: str, /, *values: object, event: str, **fields: object) -> None:
        """As `debug`."""
        self._say(logging.WARNING, words, values, None, {"event": event, **fields})

    def error(
        self, words: str, /, *values: object, event: str, trace: BaseException | None = None, **fields: object
    ) -> None:
        """As `debug`. trace: the exception whose place is worth knowing."""
        self._say(logging.ERROR, words, values, trace, {"event": event, **fields})

    def _say(
        self, level: int, words: str, values: tuple[object, ...], trace: BaseException | None, fields: dict[str, Any]
    ) -> None:
        try:
            try:
                self._logger.log(level, words, *values, exc_info=trace, stacklevel=_CALLER, extra={FIELDS: fields})
            except KeyError as taken:
                if repr(FIELDS) not in str(taken):  # it is not what `logging` says of a field that is there already
                    raise
                self._logger.log(level, words, *values, exc_info=trace, stacklevel=_CALLER)
        except Exception:  # noqa: S110  # a factory, a filter or a handler of the bot's: there is nobody left to tell
            pass
