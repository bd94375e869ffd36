"""Asking an exchange through the user's own client: paced, page by page, and honest about what was not asked."""

from audit_wrapper.asking.asker import Asker
from audit_wrapper.asking.facts import Facts, absence_counts, facts_for, id_kind, indexed_by, kind_of
from audit_wrapper.asking.heard import Heard
from audit_wrapper.asking.pace import Pace, Stopped
from audit_wrapper.asking.requests import is_rate_limit

__all__ = [
    "Asker",
    "Facts",
    "Heard",
    "Pace",
    "Stopped",
    "absence_counts",
    "facts_for",
    "id_kind",
    "indexed_by",
    "is_rate_limit",
    "kind_of",
]
