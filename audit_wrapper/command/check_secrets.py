"""Whether a key stands where it may not: in the journal, in audit.events, in the list of processes. Never shows one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from audit_wrapper.command.check import Check, note, ok, wrong
from audit_wrapper.journal import layout

_NAME = re.compile("KEY|SECRET|PASS|TOKEN|CREDENTIAL")
_LENGTH = 8  # what is shorter is no key, and would be found by chance
_TAIL = 2_000_000  # bytes of the journal that are looked at
_RESET = "make a new key at the exchange, end the old one, and report this: the trail removes keys before it writes"


def secrets(environ: Mapping[str, str], dsn: str | None) -> dict[str, str]:
    """Where each stands, and what it is: of the environment, by the name of the variable, and the DSN's password."""
    found = {
        name: value
        for name, value in environ.items()
        if _NAME.search(name.upper()) and len(value) >= _LENGTH and not os.path.exists(value)
    }
    user, password = _login(dsn)
    if len(password) >= _LENGTH and password != user:  # else a role's name would be a secret
        found["the DSN's password"] = password
    return found


def in_journal(folder: Path, known: Mapping[str, str]) -> Iterator[Check]:
    """The journal's newest part."""
    try:
        paths = layout.segment_paths(folder)
        with open(paths[-1], "rb") as file:
            file.seek(max(0, layout.size(paths[-1]) - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace")
    except (OSError, IndexError):
        return
    yield _judged("secrets in the journal", str(paths[-1].name), [text], known)


def in_events(bodies: Iterable[str], known: Mapping[str, str]) -> Check:
    """The newest rows of audit.events."""
    return _judged("secrets in the database", "audit.events", bodies, known)


def on_command_line(given: str | None) -> Iterator[Check]:
    """given: what was said with --dsn; None: nothing."""
    if given and _login(given)[1]:
        yield wrong(
            "secrets on the command line",
            "the password of --dsn stands in the list of processes and in the shell's history",
            "put it in AUDIT_WRAPPER_DSN, or in ~/.pgpass",
        )


def _judged(name: str, where: str, texts: Iterable[str], known: Mapping[str, str]) -> Check:
    if not known:
        return note(name, "the environment has no keys to look for", "run this with the bot's environment")
    looked = list(texts)
    found = sorted(key for key, value in known.items() if any(value in text for text in looked))
    if found:
        return wrong(name, f"the value of {', '.join(found)} stands in {where}", _RESET)
    return ok(name, f"none of {len(known)} keys and passwords of the environment is in the newest of {where}")


def _login(dsn: str | None) -> tuple[str, str]:
    """User and password of a DSN; empty where it has none, or cannot be taken apart."""
    try:
        parts = urlsplit(dsn or "")
        return unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return "", ""
