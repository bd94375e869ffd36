"""The local journal: append only, safe against the death of the process, knowing nothing of records but their bytes."""

from audit_wrapper.journal.finding import Finding, What
from audit_wrapper.journal.interface import Entry, Journal, Room
from audit_wrapper.journal.journal import FileJournal
from audit_wrapper.journal.memory import MemoryJournal
from audit_wrapper.journal.verify import read_through, verify

__all__ = ["Entry", "FileJournal", "Finding", "Journal", "MemoryJournal", "Room", "What", "read_through", "verify"]
