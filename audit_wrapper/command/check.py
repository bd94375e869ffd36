"""One thing that the doctor looked at."""

from __future__ import annotations

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True):
    """state: ok; note: nothing is wrong, and worth knowing; wrong. said: what was found. todo: what to do; None: nothing."""

    name: str
    state: Literal["ok", "note", "wrong"]
    said: str
    todo: str | None = None


def ok(name: str, said: str) -> Check:
    """All is well."""
    return Check(name, "ok", said)


def note(name: str, said: str, todo: str | None = None) -> Check:
    """Worth knowing."""
    return Check(name, "note", said, todo)


def wrong(name: str, said: str, todo: str) -> Check:
    """Something has to be done."""
    return Check(name, "wrong", said, todo)
