"""The command line: `audit-wrapper COMMAND`, and `python -m audit_wrapper COMMAND`, which is the same."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer

from audit_wrapper.command.app import app
from audit_wrapper.command.codes import FINE, PROG
from audit_wrapper.command.ending import spoken
from audit_wrapper.command.voice import Voice, stand_in


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. `arguments`: without the program's name; None: those of the process.

    Raises nothing: whatever goes wrong becomes a sentence on stderr and a code.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stand_in()
    words = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> int:
        command = typer.main.get_command(app)
        # not the app called as a function: that makes codes of its own of Ctrl-C and of a closed pipe
        with command.make_context(PROG, words) as context:
            code = command.invoke(context)
        sys.stdout.flush()  # a pipe whose reader is gone: here it can be caught
        return code if isinstance(code, int) else FINE

    return spoken(run, Voice())
