"""One line at startup, and every order a trading bot sends is kept: exact, complete, in PostgreSQL."""

import importlib as _importlib
import importlib.util as _importlib_util
import typing as _typing

if _typing.TYPE_CHECKING:
    from audit_wrapper.backfill import BackfillProgress, BackfillReport
    from audit_wrapper.completeness import Completeness
    from audit_wrapper.errors import (
        AuditWrapperError,
        CannotWrap,
        CodecError,
        InvalidRow,
        JournalDamaged,
        JournalError,
        JournalInUse,
        JournalUnavailable,
        NotWrapped,
        SchemaError,
        SettingsError,
        StoreError,
        StoreUnavailable,
        TrailClosed,
    )
    from audit_wrapper.reconcile import ReconcileReport
    from audit_wrapper.records import Purpose
    from audit_wrapper.scopes import suppressed
    from audit_wrapper.settings import Settings
    from audit_wrapper.status import FlushReport, Status
    from audit_wrapper.trail import AuditTrail

__all__ = [
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

# Each name is imported when it is asked for: a command that only looks at a table need not load what watches a bot.
_HOMES = {
    "AuditTrail": "trail",
    "AuditWrapperError": "errors",
    "BackfillProgress": "backfill",
    "BackfillReport": "backfill",
    "CannotWrap": "errors",
    "CodecError": "errors",
    "Completeness": "completeness",
    "FlushReport": "status",
    "InvalidRow": "errors",
    "JournalDamaged": "errors",
    "JournalError": "errors",
    "JournalInUse": "errors",
    "JournalUnavailable": "errors",
    "NotWrapped": "errors",
    "Purpose": "records",
    "ReconcileReport": "reconcile",
    "SchemaError": "errors",
    "Settings": "settings",
    "SettingsError": "errors",
    "Status": "status",
    "StoreError": "errors",
    "StoreUnavailable": "errors",
    "TrailClosed": "errors",
    "suppressed": "scopes",
}


def __getattr__(name: str) -> object:
    found: object
    if name in _HOMES:
        found = getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif not name.startswith("_") and _importlib_util.find_spec(f"{__name__}.{name}") is not None:
        found = _importlib.import_module(f"{__name__}.{name}")  # as if it had been imported with the package
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__") or not name.startswith("_"))})
