"""One line at startup, and every order a trading bot sends is kept: exact, complete, in PostgreSQL."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
