"""What the tables say, for people: read-only, in words and numbers of the trade."""

from audit_wrapper.tables.reader import Reader

__all__ = ["Reader"]
