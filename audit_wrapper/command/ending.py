"""How a command ends: whatever was raised becomes one sentence and an exit code, never a traceback."""

from __future__ import annotations

import asyncio
import os
import re
import traceback
from collections.abc import Callable
from typing import cast

import typer

from audit_wrapper.command.codes import AWAY, BROKEN_OFF, DIFFERS, FINE, PROG, WRONG
from audit_wrapper.command.voice import Unwritable, Voice, hush, is_unread
from audit_wrapper.errors import AuditWrapperError, JournalError, StoreError
from audit_wrapper.settings import DEBUG

# the base of all that is said about wrong usage; typer has it from click, or has a copy of click inside
_Refused = cast(
    "type[typer.BadParameter]", next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
)
# what an extra of ours brings, by the name it is imported by
_EXTRAS = {"jinja2": "report", "plotly": "report", "pandas": "frames", "pyarrow": "frames", "opentelemetry": "metrics"}


class Unreachable(Exception):
    """What a command cannot do without is away: the exchange answered nothing at all. The message is a sentence."""


class BrokenOff(Exception):
    """By Ctrl-C or SIGTERM. The message says what becomes of what was done."""


def spoken(work: Callable[[], int], voice: Voice) -> int:
    """Do the work; returns its code, or that of what it raised, which `voice` has said then."""
    try:
        return work()
    except typer.Exit as asked:  # --help
        return asked.exit_code
    except _Refused as problem:
        voice.say(_usage(problem))
        return WRONG
    except Unwritable as problem:
        if isinstance(problem.problem, BrokenPipeError) and is_unread():
            hush()  # `| head` has seen enough
            return FINE
        return _unwritable(problem, voice)
    except (StoreError, JournalError, Unreachable) as problem:
        voice.say(f"{PROG}: {problem}{_advice(problem)}")
        return AWAY
    except AuditWrapperError as problem:
        voice.say(f"{PROG}: {problem}")
        return WRONG
    except BrokenOff as problem:
        voice.say(str(problem))
        return BROKEN_OFF
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        voice.say("broken off; what was done is kept, and the next run goes on from there")
        return BROKEN_OFF
    except BrokenPipeError as problem:
        if not is_unread():
            return _unexpected(problem, voice)  # another pipe, or a connection
        hush()  # `| head` has seen enough
        return FINE
    except OSError as problem:
        return _unwritable(Unwritable(problem), voice) if _of_help(problem) else _unexpected(problem, voice)
    except ImportError as problem:
        extra = _EXTRAS.get((problem.name or "").partition(".")[0])
        if extra is None:
            return _unexpected(problem, voice)
        voice.say(f"{PROG}: {problem.name} is not installed: pip install 'audit-wrapper[{extra}]'")
        return WRONG
    except Exception as problem:
        return _unexpected(problem, voice)


def _of_help(problem: OSError) -> bool:
    """Whether it was raised where typer writes, which is help, to stdout; or by what stands for a stdout that is closed."""
    frame = problem.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    name = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return name.partition(".")[0] in ("typer", "click") or name == Voice.__module__


def _unwritable(problem: Unwritable, voice: Voice) -> int:
    voice.say(f"{PROG}: {problem}")
    hush()
    return WRONG


def _usage(problem: typer.BadParameter) -> str:
    """What was wrong with the words given. Never the value of an option that is unknown: it may be a key."""
    words = problem.format_message()
    kind = type(problem).__name__
    if kind == "NoArgsIsHelpError":
        return words
    if kind == "NoSuchOption":
        words = words[:1].lower() + words[1:]
    elif kind == "UsageError":
        # too many words, or no command of that name: what stands there may be an address with a password
        if "extra argument" in words:
            words = "there are too many words"
        elif not re.match(r"No such command '[a-z-]{1,20}'|Missing command", words):
            words = "there is no such command"
    context = getattr(problem, "ctx", None)
    return f"{context.command_path if context else PROG}: {words.rstrip('.')} (see --help)"


def _advice(problem: Exception) -> str:
    from audit_wrapper.tables.advice import advice

    return advice(problem)


def _unexpected(problem: Exception, voice: Voice) -> int:
    voice.say(
        f"{PROG}: this should not have happened, please report it: {type(problem).__name__}: {problem} "
        f"({DEBUG}=1 shows where)"
    )
    if os.environ.get(DEBUG) == "1":
        voice.say("".join(traceback.format_exception(problem)))
    return DIFFERS
