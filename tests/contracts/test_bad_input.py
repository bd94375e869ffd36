"""Bad input gets an error of our own tree that says what was wrong and what to do: at startup, never inside a trade."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audit_wrapper import AuditTrail, CannotWrap, JournalInUse, JournalUnavailable, SettingsError, TrailClosed
from audit_wrapper.testing import memory_trail


@pytest.mark.parametrize(
    "dsn",
    ["not a dsn", "mysql://user@host/db", "postgresql://user:secret@host:notaport/db", "", "postgresql://h:99999/db"],
)
def test_a_wrong_dsn(dsn: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        AuditTrail.open(dsn, journal=tmp_path)
    assert "secret" not in str(caught.value), "a password is never shown"
    assert "postgresql://" in str(caught.value), "says what a right one looks like"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"jornal": "x"}, "journal"),
        ({"durability": "maybe"}, "durability"),
        ({"delivery_batch": 0}, "delivery_batch"),
        ({"close_timeout_s": "soon"}, "close_timeout_s"),
        ({"bot_schema": "mon; drop table"}, "bot_schema"),
        ({"account": "a|b"}, "account"),
    ],
)
def test_a_wrong_setting(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=says):
        AuditTrail.open("postgresql://localhost/x", **{"journal": tmp_path, **settings})


def test_an_unknown_setting_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUDIT_WRAPPER_DELIVERY_BACH", "5")
    with pytest.raises(SettingsError, match=r"AUDIT_WRAPPER_DELIVERY_BACH.*did you mean 'delivery_batch'"):
        AuditTrail.open("postgresql://localhost/x", journal=tmp_path)


def test_a_journal_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable, match="file"):
        AuditTrail.open("postgresql://localhost/x", journal=tmp_path / "file")


def test_a_journal_folder_that_cannot_be_written() -> None:
    """As an ordinary user: root may write anywhere."""
    # not even root makes a folder in /proc
    folder = "/proc/audit-journal" if os.geteuid() == 0 else "/audit-journal"
    with pytest.raises(JournalUnavailable, match="audit-journal"):
        AuditTrail.open("postgresql://localhost/x", journal=folder)


def test_a_journal_that_another_process_writes(tmp_path: Path) -> None:
    code = (
        "import sys, audit_wrapper\n"
        f"trail = audit_wrapper.AuditTrail.open('postgresql://127.0.0.1:1/x', journal={str(tmp_path)!r}, close_timeout_s=0.1)\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "open"
        with pytest.raises(JournalInUse, match=str(tmp_path)):
            AuditTrail.open("postgresql://127.0.0.1:1/x", journal=tmp_path)
        other.kill()
    AuditTrail.open("postgresql://127.0.0.1:1/x", journal=tmp_path, close_timeout_s=0.1).close()


@pytest.mark.parametrize("thing", [5, "binance", object(), None, dict, lambda: None])
def test_what_cannot_be_wrapped(thing: object) -> None:
    with memory_trail() as trail, pytest.raises(CannotWrap, match=r"looked for an exchange manager .*create_position"):
        trail.wrap(thing)


@pytest.mark.parametrize("name", ["nomodule_at_all:Class", "json", "json:NoSuch", "json:JSONDecoder", ":X", "json:"])
def test_what_cannot_be_instrumented(name: str) -> None:
    import json  # noqa: F401 - imported already, so that a wrong class is known at once

    with memory_trail() as trail, pytest.raises(CannotWrap, match="cannot instrument"):
        trail.instrument(name)


def test_a_wrong_purpose() -> None:
    with memory_trail() as trail, pytest.raises(SettingsError, match="entry"):
        trail.audited(purpose="enter")


def test_a_closed_trail() -> None:
    trail = memory_trail()
    trail.close()
    with pytest.raises(TrailClosed):
        trail.wrap({})


async def test_a_database_that_is_down_is_no_error(tmp_path: Path) -> None:
    async with AuditTrail.open("postgresql://127.0.0.1:1/x", journal=tmp_path, close_timeout_s=0.2) as trail:
        left = await trail.flush(timeout_s=0.1)
        assert left, "nothing was recorded, so nothing is left"
