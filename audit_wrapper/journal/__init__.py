"""The local journal: append only, safe against the death of the process, knowing nothing of records but their bytes."""

from audit_wrapper.journal.finding import Finding, What
from audit_wrapper.journal.interface import Entry, Journal
from audit_wrapper.journal.journal import SqliteJournal
from audit_wrapper.journal.memory import MemoryJournal
from audit_wrapper.journal.verify import verify

__all__ = ["Entry", "Finding", "Journal", "MemoryJournal", "SqliteJournal", "What", "verify"]
