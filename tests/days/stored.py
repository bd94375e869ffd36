"""A day whose trail writes into a real PostgreSQL."""

from __future__ import annotations

import dataclasses

from tests.days.day import Told, one_day
from tests.torture.database import Made


def one_stored_day(seed: int, losing: bool, made: Made) -> Told:
    """The day of this seed, in a database of its own."""
    name = f"day_{seed}{'_losing' if losing else ''}"
    made.drop(name)
    dsn = made.create(name, with_schema=True)
    try:
        told = one_day(seed, losing, dsn)
    finally:
        made.drop(name)
    told.counts["days in PostgreSQL"] += 1
    if told.problem is None:
        return told
    return dataclasses.replace(told, problem=told.problem + " --stored")
