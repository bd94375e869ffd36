"""The command line: `audit-wrapper COMMAND`. Each command is a file beside this one, with a function `register(app)`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import typer
from typer.models import CommandInfo

from audit_wrapper.command.codes import CODES, PROG

# in the order in which --help shows them
_COMMANDS: tuple[str, ...] = (
    "status",
    "doctor",
    "orders",
    "trades",
    "explain",
    "tail",
    "report",
    "export",
    "upgrade",
    "deliver",
    "reconcile",
    "completeness",
    "backfill",
    "verify",
    "quarantine",
    "rebuild",
)

app = typer.Typer(
    name=PROG,
    help="See, ask, and trust the audit trail of a trading bot.",
    epilog=CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _root() -> None:
    """Only so that one command alone is a command too."""


def _all(of: typer.Typer) -> Iterator[CommandInfo]:
    yield from of.registered_commands
    for group in of.registered_groups:
        if group.typer_instance is not None:
            yield from _all(group.typer_instance)


for _name in _COMMANDS:
    import_module(f"audit_wrapper.command.{_name}").register(app)
for _info in _all(app):
    _info.epilog = _info.epilog or CODES
