"""Orders of one account are written by one deliverer at a time.

An advisory lock per exchange and account, taken in a fixed order, so that two deliverers neither wait for each other in a
circle nor overwrite each other's rows.
"""

import hashlib
from collections.abc import Iterable
from uuid import UUID

from audit_wrapper.store.arrival import Arrival
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries

Group = tuple[str, str]  # exchange and account


def groups_of(arrivals: Iterable[Arrival]) -> set[Group]:
    """Every group of orders that these records may touch."""
    return {(a.record.exchange or "", a.record.account) for a in arrivals} | {
        alias[:2] for a in arrivals for mention in a.mentions for alias in mention.aliases
    }


async def lock(con: Connection, sql: Queries, groups: Iterable[Group], stream: UUID | None = None) -> None:
    """Wait for the sole right to write these groups of orders, until the end of the transaction."""
    numbers = {_lock_number("orders", *group) for group in groups}
    if stream is not None:
        numbers.add(_lock_number("stream", str(stream)))
    await con.fetch(sql["take_locks"], sorted(numbers))


def _lock_number(*names: str) -> int:
    digest = hashlib.blake2b("\0".join(("audit_wrapper", *names)).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)
