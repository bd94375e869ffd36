"""The command line: `audit-wrapper COMMAND`. Each command is in a file beside this one, with a function `register(app)`, and is
imported when it is asked for: a look at a table need not wait for what a bot's trail is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

from audit_wrapper.command.codes import CODES, PROG

# each command: the file that it is in, and what --help says of it; in the order in which --help shows them
_COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("status", "Is the audit itself working? The first line is the verdict."),
    "doctor": ("doctor", "Look at everything the trail needs, and say what to do."),
    "orders": ("orders", "Show orders, the newest first."),
    "trades": ("trades", "Show trades, the newest first."),
    "explain": ("explain", "Tell the whole story of a position or an order."),
    "tail": ("tail", "Show the newest records, one line each; -f: go on."),
    "report": ("report", "One page to look at, to send, to print."),
    "export": ("export", "Write a table to a file: CSV, JSON Lines or Parquet."),
    "init": ("upgrade", "Make the schema in the database, or bring it up to date."),
    "upgrade": ("upgrade", "Bring the schema up to date after a new release."),
    "deliver": ("deliver", "Bring what is in a journal into the database."),
    "reconcile": ("reconcile", "Ask about every order that is not complete in the tables."),
    "completeness": ("completeness", "Hold the tables against the exchange's own books."),
    "backfill": ("backfill", "Fill the tables from the exchange's history."),
    "verify": ("verify", "Check that nothing was changed, dropped or moved."),
    "rebuild": ("rebuild", "Make orders, trades and fills anew from the records."),
    "quarantine": ("quarantine", "See what the database refused, and bring it in."),
}


class _Imported(Mapping[str, Any]):
    """The commands by their names, each made of its file when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _ = _COMMANDS[name]
            part = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
            part.callback()(_root)
            import_module(f"audit_wrapper.command.{module}").register(part)
            for info in _all(part):
                info.epilog = info.epilog or CODES
            self._made |= typer.main.get_group(part).commands
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = _Imported()

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(_COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """What --help says of each."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])


def _root() -> None:
    """Only so that one command alone is a command too."""


def _all(of: typer.Typer) -> Iterator[CommandInfo]:
    yield from of.registered_commands
    for group in of.registered_groups:
        if group.typer_instance is not None:
            yield from _all(group.typer_instance)


app = typer.Typer(
    name=PROG,
    cls=_Commands,
    help="See, ask, and trust the audit trail of a trading bot.",
    epilog=CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.callback()(_root)
