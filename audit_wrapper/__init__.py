"""One line at startup, and every order a trading bot sends is kept: exact, complete, in PostgreSQL."""

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
