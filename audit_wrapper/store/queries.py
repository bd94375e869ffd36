"""The named queries of the .sql files, with the names of the bot's own schema and table put in, quoted."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_FOLDER = files("audit_wrapper.store") / "sql"
_FILES = (
    "catalog.sql",
    "deliver.sql",
    "links.sql",
    "positions.sql",
    "reads.sql",
    "rebuild.sql",
    "repository.sql",
)
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

Queries = Mapping[str, str]


def named(text: str, bot_schema: str, positions_table: str = "positions") -> str:
    """SQL as in a file, for the bot's own names. The files say "monitoring" and "positions", in double quotes."""
    return text.replace('"monitoring"', quoted(bot_schema)).replace('"positions"', quoted(positions_table))


def read(path: str) -> str:
    """The text of a file below sql/."""
    return (_FOLDER / path).read_text(encoding="utf-8")


@cache
def load(bot_schema: str, positions_table: str) -> Queries:
    """Every query by its name."""
    return by_name(named("\n".join(read(file) for file in _FILES), bot_schema, positions_table))


def by_name(text: str) -> Queries:
    """The queries of a text in which each begins with a line `-- name: ...`."""
    parts = _NAME.split(text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
