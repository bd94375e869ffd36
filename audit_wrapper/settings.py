"""One frozen settings object. Units are in the names; every value can also come from the environment.

`AUDIT_WRAPPER_JOURNAL=/var/lib/bot/audit` sets `journal`, `AUDIT_WRAPPER_CLOSE_TIMEOUT_S=10` sets `close_timeout_s`, and
so on. What is passed in code wins over the environment.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec

from audit_wrapper.errors import SettingsError

PREFIX = "AUDIT_WRAPPER_"
DEBUG = "AUDIT_WRAPPER_DEBUG"  # the command line's, and no setting: "1" shows where an error of ours came from

_MAY_BE_NONE = ("dsn", "positions_table")
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^|\x00]+$")]
_Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a trail records and delivers.

    dsn: where the records go, as asyncpg reads it (postgresql://user:password@host:port/name). None: an embedded
        PostgreSQL in `<journal>/postgres`.
    journal: folder of the local journal; made if missing. One bot process, one folder.
    account: names the account at the exchange; part of every order's identity.
    bot_schema: the schema of the bot's tables (positions, orders, trades).
    positions_table: the bot's positions table, read to link orders; None: never look.
    delivery: who delivers. "process": a process that the trail starts, watches and ends; the bot's event loop is not late by
        it. "own": a thread of the bot's. "sidecar": `audit-wrapper deliver --follow`, which somebody else starts beside the
        bot; needs a dsn.
    delivery_batch: records in one transaction. delivery_pause_s: how long new records are gathered before one.
    statement_timeout_s: how long one batch may take in the database before it is tried again.
    close_timeout_s: how long `close()` goes on delivering before it says what is left.
    ask_exchange: after an answer that leaves something open (an id without a fill, a fill without a fee), ask the
        exchange through the bot's own client, off the order path. "off": only when `reconcile()` is called.
    ask_after_s: how long after such an answer. ask_every_s: how often it is asked about open stops and whatever else is
        not complete. ask_per_minute: how many requests a minute per exchange at the most, for all that asks.
    durability: "process": a record survives the death of the process. "power": it survives the loss of power too; a
        request then waits until the disk itself has its intent.
    entries_without_journal: while the journal cannot be written, "allow" entries (records wait in memory), or "refuse"
        them with EntryRefused. Orders that reduce a position, stops, take-profits and cancels always go through.
    stamp_client_order_id: give an order a client order id where the bot gave none, so that a lost answer can be asked for by
        name, and what is sent again carries the same id. It changes the request: Binance, Bybit and OKX, over HTTP only.
    metrics: "auto": through OpenTelemetry's global MeterProvider, where opentelemetry-api is installed. "off": none.
    keep_delivered_days: how long journal files stay once all of them is delivered. keep_delivered_mb: how many megabytes
        of such files at the most. What is not delivered is never deleted.
    """

    dsn: str | None = None
    journal: Path = Path("audit-journal")
    account: _Name = "default"
    bot_schema: _Identifier = "monitoring"
    positions_table: _Identifier | None = "positions"
    delivery: Literal["process", "own", "sidecar"] = "process"
    delivery_batch: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    delivery_pause_s: _Seconds = 0.05
    statement_timeout_s: _Seconds = 60.0
    close_timeout_s: _Seconds = 5.0
    ask_exchange: Literal["auto", "off"] = "auto"
    ask_after_s: _Seconds = 1.0
    ask_every_s: _Seconds = 60.0
    ask_per_minute: Annotated[int, msgspec.Meta(ge=1, le=6_000)] = 20
    durability: Literal["process", "power"] = "process"
    entries_without_journal: Literal["allow", "refuse"] = "allow"
    stamp_client_order_id: bool = False
    metrics: Literal["auto", "off"] = "auto"
    keep_delivered_days: Annotated[float, msgspec.Meta(ge=0, le=36_500)] = 7.0
    keep_delivered_mb: Annotated[int, msgspec.Meta(ge=0)] = 1_024

    @classmethod
    def load(cls, given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Self:
        """Settings from the environment, overridden by `given`. Raises SettingsError for what cannot be right."""
        environment = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for variable, text in environment.items():
            if variable.startswith(PREFIX) and variable != DEBUG:
                name = variable.removeprefix(PREFIX).lower()
                _known(name, f"environment variable {variable}")
                if text == "" and name not in _MAY_BE_NONE:
                    raise SettingsError(f"environment variable {variable} is empty: give {name} a value, or unset it")
                values[name] = text or None
        for name, value in given.items():
            _known(name, "AuditTrail.open()")
            values[name] = os.fspath(value) if isinstance(value, os.PathLike) else value
        try:
            return msgspec.convert(values, cls, strict=False, dec_hook=from_text)
        except msgspec.ValidationError as problem:
            raise SettingsError(f"a setting cannot be used: {problem}") from None


def from_text(kind: type, value: Any) -> Any:
    """What msgspec cannot make by itself of a setting's text."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise msgspec.ValidationError(f"expected a {kind.__name__}, got {value!r}")


def _known(name: str, source: str) -> None:
    fields = Settings.__struct_fields__
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SettingsError(f"{source}: there is no setting {name!r}; {hint}the settings are: {', '.join(fields)}")
