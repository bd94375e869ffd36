"""What to do about an error of the database's, where a person has to do something."""

from __future__ import annotations

_NO_TRAIL = (
    "; the trail's tables are not in this database, or of another release: `audit-wrapper init` makes them, `audit-wrapper "
    "upgrade` brings them up to date; the bot's own tables are looked for in the schema that --bot-schema names"
)
_ADVICE = {
    "3F000": _NO_TRAIL,  # no such schema
    "42P01": _NO_TRAIL,  # no such table
    "42703": _NO_TRAIL,  # no such column
    "42501": "; the role of this address lacks a right: whoever owns the tables can grant it, and docs/production.md has what a role "
    "needs",
    "3D000": "; there is no database of this name on that server: mend the name at the end of the address, or make the database "
    "with `createdb`",
}


def advice(problem: BaseException) -> str:
    """What to do about it, to be put behind its words; empty: nothing that would be known here. Goes by the SQLSTATE of its cause."""
    return _ADVICE.get(getattr(problem.__cause__, "sqlstate", None) or "", "")
