"""A backlog: the database is away while N records are made, and then it all has to go in, with bounded memory.

    python tests/torture/backlog.py [N] [--dsn DSN] [--most-mb 250]

Two processes. The first is a bot's: it appends the records of N/4 small orders to a real journal while the database
refuses every connection. The second begins with that journal and drains it into PostgreSQL (an embedded one, unless
--dsn names an empty database). Both print how they are doing. At the end it is checked that every record is in
audit.events, in order, once, with its hash; that every order has its row; that no process ever held more memory than
allowed; and that the lag was to be seen all along. Exit code 0: all of that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from audit_wrapper import AuditTrail, codec
from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.records import Action, Call, Market, Operation, Purpose, Record, RecordKind, Request, Response, Seam

NOWHERE = "postgresql://bot:secret@127.0.0.1:1/away"
SYMBOLS = ("MNT", "BTC", "ETH", "PEPE", "SOL")
EVERY_S = 2.0


def main() -> int:
    """Run what the arguments say; this script calls itself for each of the two processes."""
    parser = argparse.ArgumentParser(description="See the top of this file.")
    parser.add_argument("records", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--dsn")
    parser.add_argument("--most-mb", type=int, default=250)
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=["append", "drain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("audit_wrapper").setLevel(logging.CRITICAL)  # that the database is away is meant
    records = options.records - options.records % 4
    if options.part == "append":
        return append(options.journal, records, options.most_mb)
    if options.part == "drain":
        return asyncio.run(drain(options.journal, options.dsn, records, options.most_mb))
    return whole(records, options.dsn, options.most_mb)


def whole(records: int, dsn: str | None, most_mb: int) -> int:
    """Both processes, and a database for them."""
    folder = Path(tempfile.mkdtemp(prefix="audit-wrapper-backlog-"))
    embedded = None if dsn else EmbeddedPostgres(folder / "postgres")
    try:
        address = dsn or embedded.start()  # type: ignore[union-attr]
        for part in ("append", "drain"):
            command = [sys.executable, __file__, str(records), "--most-mb", str(most_mb), "--part", part]
            done = subprocess.run([*command, "--journal", str(folder / "journal"), "--dsn", address], check=False)
            if done.returncode != 0:
                print(f"{part}: FAILED", flush=True)
                return done.returncode
        print("all there, in order, once", flush=True)
        return 0
    finally:
        if embedded is not None:
            embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


# -- the bot's process


def append(journal: Path, records: int, most_mb: int) -> int:
    """Make the backlog, as the recorder would, while the database is away."""
    with AuditTrail.open(NOWHERE, journal=journal, ask_exchange="off", close_timeout_s=0.2) as trail:
        progress = Progress("append", records)
        for number in range(records // 4):
            for record in order(number):
                trail._recorder._outbox.put(record)  # the last step on a bot's order path
            if progress.is_due():
                status = trail.status()
                progress.show(status.durable_seq, status.lag, status.store)
                check(status.lag == status.durable_seq == 4 * (number + 1), f"the lag is to be seen: {status}")
        status = trail.status()
        check(status.lag == records, f"the lag is to be seen: {status}")
        check("trying again" in status.store, status.store)
        progress.show(status.durable_seq, status.lag, "done")
    return remembered(most_mb)


def order(number: int) -> list[Record]:
    """The four records of an entry on Binance: sent, taken, asked for, and seen as it is now."""
    base = SYMBOLS[number % len(SYMBOLS)]
    exchange_symbol, order_id = f"{base}USDT", str(4_000_000_000 + number)
    market = Market(symbol=f"{base}/USDT:USDT", exchange_symbol=exchange_symbol, base=base, quote="USDT", type="swap")
    now = datetime.now(UTC)
    operation = Operation(correlation_id=uuid7(), method="open_position_atomic", purpose=Purpose.ENTRY)
    call = Call(
        seam=Seam.CLIENT,
        target="binance",
        method="create_order",
        arguments={"symbol": market.symbol, "type": "market", "side": "buy", "amount": 10.0},
    )
    sent = Request(
        method="POST", path="/fapi/v1/order", params=f"symbol={exchange_symbol}&side=BUY&type=MARKET&quantity=10"
    )
    common = {"version": codec.VERSION, "exchange": "binance", "market": market, "operation": operation}
    intent = Record(
        **common, record_id=uuid7(), kind=RecordKind.INTENT, action=Action.PLACE, attempt=1, call=call, request=sent,
        called_at=now,
    )  # fmt: skip
    info = {
        "orderId": order_id, "symbol": exchange_symbol, "status": "NEW", "clientOrderId": f"x-{number}", "price": "0.0000",
        "avgPrice": "0.00", "origQty": "10", "executedQty": "0", "cumQuote": "0.0000", "timeInForce": "GTC",
        "type": "MARKET", "reduceOnly": False, "side": "BUY", "positionSide": "BOTH", "stopPrice": "0.0000",
        "workingType": "CONTRACT_PRICE", "origType": "MARKET", "updateTime": 1_790_000_000_000 + number,
    }  # fmt: skip
    answered = Response(http_status=200, text=codec._encoder.encode(info).decode())
    taken = Record(
        **common, record_id=uuid7(), kind=RecordKind.ACKNOWLEDGED, action=Action.PLACE, attempt=1, call=call, request=sent,
        response=answered, result={"id": order_id, "symbol": market.symbol, "info": info}, intent_id=intent.record_id,
        called_at=now, answered_at=now,
    )  # fmt: skip
    reported = Record(
        **common, record_id=uuid7(), kind=RecordKind.REPORTED, action=Action.PLACE, call=call,
        result={"id": order_id, "status": "open"}, called_at=now, answered_at=now,
    )  # fmt: skip
    trade = {
        "id": order_id, "orderId": order_id, "symbol": exchange_symbol, "price": "1.2345", "qty": "10",
        "commission": "0.00493800", "commissionAsset": "USDT", "side": "BUY", "maker": False,
        "time": 1_790_000_000_000 + number,
    }  # fmt: skip
    asked = Call(
        seam=Seam.RECONCILE,
        target="binance",
        method="fetch_order",
        arguments={"id": order_id, "symbol": market.symbol, "id_kind": "order"},
    )
    filled = {**info, "status": "FILLED", "executedQty": "10", "avgPrice": "1.2345"}
    seen = Record(
        **common, record_id=uuid7(), kind=RecordKind.RECONCILED, action=Action.ASK, call=asked,
        result={
            "orders": [{"id": order_id, "symbol": market.symbol, "info": filled}],
            "trades": [{"id": trade["id"], "order": order_id, "info": trade}],
        },
        called_at=now, answered_at=now,
    )  # fmt: skip
    return [intent, taken, reported, seen]


# -- the draining process


async def drain(journal: Path, dsn: str, records: int, most_mb: int) -> int:
    """Deliver all of it, then look at it."""
    trail = AuditTrail.open(dsn, journal=journal, ask_exchange="off")
    try:
        check(trail.status().durable_seq == records, f"the journal was opened again: {trail.status()}")
        check(trail.status().lag == records, f"the lag is to be seen at once: {trail.status()}")
        progress, delivered = Progress("drain", records), 0
        while trail.status().lag:
            await trail.flush(timeout_s=EVERY_S)
            status = trail.status()
            check(delivered <= status.delivered_seq, "it only goes forward")
            check(status.delivered_seq + status.lag == records, f"the lag is to be seen: {status}")
            check(status.failures == {}, f"nothing fails: {status.failures}")
            delivered = status.delivered_seq
            progress.show(delivered, status.lag, status.store)
        stream = trail._pipeline.journal.stream
    finally:
        await trail.aclose()
    code = remembered(most_mb)
    await looked_at(dsn, stream, journal, records)
    return code


async def looked_at(dsn: str, stream: UUID, journal: Path, records: int) -> None:
    """Every record, in order, once, byte for byte; and every row."""
    connection = await asyncpg.connect(dsn)
    entries = entries_of(journal)
    try:
        async with connection.transaction():
            number = 0
            async for row in connection.cursor(
                "SELECT seq, hash, body::text AS body FROM audit.events WHERE stream = $1 ORDER BY stored_no", stream
            ):
                seq, payload, digest, _ = next(entries)
                number += 1
                same = (row["seq"], row["hash"]) == (seq, digest) and row["body"].encode() == payload
                check(same and seq == number, f"entry {seq} is stored as it is in the journal")
        check(number == records, f"{number} of {records} records are in audit.events")
        for table, condition, expected in (
            ("monitoring.orders", "status = 'FILLED' AND filled = 10 AND fee = 0.004938", records // 4),
            ("monitoring.trades", "executed_qty = 10 AND average_price = 1.2345", records // 4),
            ("audit.fills", "NOT conflicts", records // 4),
            ("audit.quarantine", "true", 0),
        ):
            count = await connection.fetchval(f"SELECT count(*) FILTER (WHERE {condition}) FROM {table}")
            total = await connection.fetchval(f"SELECT count(*) FROM {table}")
            check((count, total) == (expected, expected), f"{table}: {count} of {total} as expected, of {expected}")
    finally:
        await connection.close()


def entries_of(journal: Path):  # type: ignore[no-untyped-def]
    """What the journal holds, read again from the disk, a little at a time."""
    with AuditTrail.open(NOWHERE, journal=journal, ask_exchange="off", close_timeout_s=0.1) as trail:
        after = 0
        while entries := trail._pipeline.journal.read(after, 1_000):
            yield from entries
            after = entries[-1].seq


# -- telling and checking


class Progress:
    """Prints how far it is, every few seconds."""

    def __init__(self, what: str, records: int) -> None:
        self._what, self._records = what, records
        self._began = self._shown = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._shown >= EVERY_S

    def show(self, done: int, lag: int, state: str) -> None:
        now = time.monotonic()
        rate = done / max(now - self._began, 1e-9)
        self._shown = now
        print(
            f"{self._what}: {done:>9,} of {self._records:,}  lag {lag:>9,}  {rate:>8,.0f} records/s  "
            f"peak memory {peak_mb():.0f} MB  {state[:40]}",
            flush=True,
        )


def peak_mb() -> float:
    """The most memory that this process ever held."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not say how much memory a process has used")


def remembered(most_mb: int) -> int:
    """The exit code, by the memory used."""
    most = peak_mb()
    print(f"peak memory {most:.0f} MB, allowed {most_mb} MB", flush=True)
    return 0 if most < most_mb else 3


def check(is_so: bool, what: str) -> None:
    """As assert, also with `python -O`."""
    if not is_so:
        raise SystemExit(f"not so: {what}")


if __name__ == "__main__":
    sys.exit(main())
