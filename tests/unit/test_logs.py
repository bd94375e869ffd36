"""Every line that is logged: it names an event that docs/logs.md has, carries its fields, and shows no secret."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import asyncpg
import pytest

import audit_wrapper
from audit_wrapper import AuditTrail, delivery, embedded, logs, trail
from audit_wrapper.delivery import Delivery
from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.errors import JournalUnavailable, StoreUnavailable
from audit_wrapper.failures import Failures
from audit_wrapper.journal import MemoryJournal
from audit_wrapper.journal.lock import holder
from audit_wrapper.observe import observed
from audit_wrapper.settings import Settings
from audit_wrapper.store import views
from audit_wrapper.store.links import Linker
from audit_wrapper.store.memory import MemoryStore

PACKAGE = Path(audit_wrapper.__file__).parent
ROOT = PACKAGE.parent
DOCUMENT = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}

PASSWORD, KEY, SIGNATURE = "hunter2-of-the-database", "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2", "c8db56825ae71d6d79447849e6"
SECRETS = (PASSWORD, KEY, SIGNATURE)
# what ccxt says of a request that failed, and what somebody's own code may put into an exception
ADDRESS = f"binance GET https://fapi.example/fapi/v1/openOrders?timestamp=1&recvWindow=5000&signature={SIGNATURE}"
HEADERS = f"refused: {{'X-MBX-APIKEY': '{KEY}', 'Authorization': 'Bearer {KEY}'}}, apiKey={KEY}, \"secret\": \"{KEY}\""
DSN = f"postgresql://bot:{PASSWORD}@127.0.0.1:1/bot"


def rows(heading: str) -> list[list[str]]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert section is not None
    lines = [line for line in section[1].splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


EVENTS = {row[0].strip("`"): (row[1], set(re.findall(r"`(\w+)`", row[2]))) for row in rows("Events")}
KINDS = {row[0].strip("`") for row in rows("Kinds of failure")}


# -- the code and the document


class Line:
    """One call that logs."""

    def __init__(self, path: Path, call: ast.Call) -> None:
        self.place = f"{path.relative_to(ROOT)}:{call.lineno}"
        assert isinstance(call.func, ast.Attribute)
        self.level = {"exception": "ERROR"}.get(call.func.attr, call.func.attr.upper())
        self.message = call.args[0]
        self.fields = {one.arg: one.value for one in call.keywords if one.arg not in (None, "trace")}
        self.has_more = any(one.arg is None for one in call.keywords)  # `**self._about`
        event = self.fields.pop("event", None)
        assert isinstance(event, ast.Constant), f"{self.place}: no event"
        self.event: str = event.value


def calls_of(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


def lines() -> list[Line]:
    return [
        Line(path, call)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != Path(logs.__file__)
        for call in calls_of(path)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in METHODS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id.lower().strip("_") in ("log", "logger", "logging")
    ]


def test_every_line_names_an_event_of_the_document_and_every_event_is_logged() -> None:
    found = lines()
    assert {line.event for line in found} == set(EVENTS)
    for line in found:
        level, fields = EVENTS[line.event]
        assert line.level == level, line.place
        if line.has_more:
            assert set(line.fields) | {"account", "journal"} == fields, line.place
        else:
            assert set(line.fields) == fields, line.place


def test_the_words_of_a_line_are_a_sentence_and_not_put_together_first() -> None:
    for line in lines():
        assert isinstance(line.message, ast.Constant), f"{line.place}: arguments go beside the words"
        assert not line.message.value.endswith((".", "\n")), line.place


def test_no_logger_is_anybody_elses() -> None:
    for path in PACKAGE.rglob("*.py"):
        for call in calls_of(path):
            made = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            assert made != "getLogger" or path == Path(logs.__file__), f"{path}: a logger whose lines may raise"
            if made == "Log":
                (name,) = call.args
                assert isinstance(name, ast.Constant)
                assert name.value.partition(".")[0] == "audit_wrapper", path


def kinds_in_the_code() -> set[str]:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "asking"):  # notes there are of what was not heard
            continue
        for call in calls_of(path):
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("note", "note_failure", "_broken_off"):
                first = call.args[0]
                chosen = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                found |= {one.value for one in chosen if isinstance(one, ast.Constant)}
    return found


def test_every_kind_of_failure_is_in_the_document_and_no_other() -> None:
    assert kinds_in_the_code() == KINDS


# -- every line, logged


class Silent:
    """A hook of a call that fails in everything."""

    def begin(self, *_: Any) -> Any:
        return object()

    def __getattr__(self, name: str) -> Any:
        if name in ("returned", "raised", "leave", "resume"):
            return self._fail
        raise AttributeError(name)

    def _fail(self, *_: Any) -> Any:
        raise RuntimeError(HEADERS)


class Blind(Silent):
    begin = Silent._fail


class Rewriting(Silent):
    rewritten = Silent._fail


def manager() -> Any:
    made = AsyncMock()
    made.name = "binance"
    made.create_market_order.return_value = {"id": "1", "symbol": "BTC/USDT:USDT", "status": "open", "amount": 1}
    return made


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def opened(folder: Path) -> AuditTrail:
    return AuditTrail.open(DSN, journal=folder / "journal", account="main", ask_exchange="off", close_timeout_s=0.01)


async def open_and_close(folder: Path) -> None:
    opened(folder).close()


async def database_away(folder: Path) -> None:
    made = opened(folder)
    await made.wrap({"binance": manager()})["binance"].create_market_order("BTCUSDT", "buy", 1)
    await until(lambda: made.status().failures.get("database away"))
    assert PASSWORD not in str(made.status())
    made.close()


async def delivers_on_thread(folder: Path) -> None:
    with patch.object(sys, "frozen", True, create=True):
        made = AuditTrail.open(DSN, journal=folder / "journal", delivery="process", close_timeout_s=0.01)
    await until(lambda: made.status().failures.get("database away"))
    made.close()


async def journal_full(folder: Path) -> None:
    made = opened(folder)

    def refuse(*_: Any, **__: Any) -> int:
        raise JournalUnavailable("the disk is full")

    made._pipeline.journal.append = refuse  # type: ignore[method-assign]
    await made.wrap({"binance": manager()})["binance"].create_market_order("BTCUSDT", "buy", 1)
    assert made.status().waiting > 0
    made._pipeline.close = close_refusing(made)  # type: ignore[method-assign]
    made.close()


def close_refusing(made: AuditTrail) -> Callable[[], Any]:
    """What `close` does, with a folder beside the journal that cannot be written either."""
    close = made._pipeline.close

    def closing() -> Any:
        made._recorder.use_journal = lambda _: None  # type: ignore[method-assign]
        return close()

    return closing


async def failures_with_secrets(folder: Path) -> None:
    failures = Failures({"account": "main", "journal": str(folder)})
    failures.note("asking the exchange", RuntimeError(ADDRESS))
    failures.note("metrics", HEADERS)
    failures.note("schema", StoreUnavailable(f"cannot connect to {DSN}"))
    try:
        try:
            raise ValueError(HEADERS)
        except ValueError as problem:
            raise TypeError("a bug") from problem
    except TypeError as problem:
        failures.note("recording a call", problem)
    failures.note("recording an answer", KeyError("foreseen by nobody"))
    assert not [secret for secret in SECRETS if secret in str(failures.last)]


async def call_not_observed(_: Path) -> None:
    assert observed(lambda: 7, Blind())() == 7  # type: ignore[arg-type]


async def outcome_not_observed(_: Path) -> None:
    assert observed(lambda: 7, Silent())() == 7  # type: ignore[arg-type]


async def arguments_not_rewritten(_: Path) -> None:
    async def seven() -> int:
        return 7

    assert await observed(seven, Rewriting())() == 7  # type: ignore[arg-type]


async def close_failed(folder: Path) -> None:
    made = opened(folder)
    made._close = Silent()._fail  # type: ignore[method-assign]
    trail._close_all()
    del made._close
    made.close()


async def store_not_closed(_: Path) -> None:
    class Store(MemoryStore):
        async def close(self) -> None:
            raise OSError(f"broken pipe to {DSN}")

    await delivery._closed(Store())


async def delivering_again(_: Path) -> None:
    problems = [StoreUnavailable(f"no route to {DSN}")]

    class Store(MemoryStore):
        async def open(self) -> None:
            if problems:
                raise problems.pop()

    journal, failures = MemoryJournal(), Failures()
    made = Delivery(journal, Store, Settings.load({"delivery_pause_s": 0.01}, environ={}), failures)
    made.start()
    await until(lambda: made.state == "connected")
    made.stop(5)


async def linking_failed(_: Path) -> None:
    @contextlib.asynccontextmanager
    async def transaction(_: str) -> AsyncIterator[Any]:
        raise StoreUnavailable(f"permission denied, as {DSN}")
        yield

    await Linker({}, transaction, "monitoring", "positions").after_batch([], [])  # type: ignore[arg-type]


async def views_differ(_: Path) -> None:
    class Busy:
        fetch = AsyncMock(return_value=[])

        def transaction(self) -> Any:
            raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")

    views._said.clear()
    await views.install(Busy(), AsyncMock(), "monitoring")  # type: ignore[arg-type]


async def embedded_server(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres")
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.stop)


async def embedded_program(folder: Path) -> None:
    program = folder / "false"
    program.write_text("#!/bin/sh\nexit 3\n", encoding="ascii")
    program.chmod(0o755)
    with pytest.raises(Exception, match="returned non-zero"):
        embedded._run("false", [], folder)


SITUATIONS: dict[Callable[[Path], Awaitable[None]], set[str]] = {
    open_and_close: {"trail_opened", "trail_closed"},
    database_away: {"trail_opened", "failure", "records_left", "trail_closed"},
    delivers_on_thread: {"trail_opened", "delivers_on_thread", "trail_closed"},
    journal_full: {"trail_opened", "failure", "records_lost", "trail_closed"},
    failures_with_secrets: {"failure"},
    call_not_observed: {"call_not_observed"},
    outcome_not_observed: {"outcome_not_observed"},
    arguments_not_rewritten: {"arguments_not_rewritten", "outcome_not_observed"},
    close_failed: {"close_failed", "trail_opened", "trail_closed"},
    store_not_closed: {"store_not_closed"},
    delivering_again: {"failure", "delivering_again"},
    linking_failed: {"linking_failed"},
    views_differ: {"views_differ"},
    embedded_server: {"embedded_runs", "embedded_released"},
    embedded_program: {"embedded_program_failed"},
}


def as_json(record: logging.LogRecord) -> str:
    """As the formatter of the document has it."""
    (block,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    known: dict[str, Any] = {}
    exec(block.partition("\nhandler = ")[0], known)
    return str(known["JsonLines"]().format(record))


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda function: function.__name__)
async def test_what_is_logged(
    situation: Callable[[Path], Awaitable[None]], memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "audit_wrapper"):
        await situation(memory)
    told = [record for record in caplog.records if record.name.partition(".")[0] == "audit_wrapper"]
    assert {record.audit["event"] for record in told} >= SITUATIONS[situation]
    for record in told:
        event = record.audit["event"]
        level, fields = EVENTS[event]
        assert record.levelname == level
        assert record.filename != "logs.py", "the place is that of whoever said it"
        line = json.loads(as_json(record))
        own = fields - ({"account", "journal"} if event == "failure" and situation is delivering_again else set())
        assert own | {"event"} == line["audit"].keys(), line
        assert not [secret for secret in SECRETS if secret in json.dumps(line)], line
        if event == "failure":
            assert record.audit["kind"] in KINDS


def test_every_event_has_a_situation() -> None:
    assert set().union(*SITUATIONS.values()) == set(EVENTS)


def test_a_trace_without_a_secret_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    Failures().note("recording a call", KeyError("foreseen by nobody"))
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    "words",
    [
        "Unexpected token < in JSON",
        "password authentication failed for user bot",
        "connect to https://fapi.example:443/fapi/v1/order failed: design=3",
        'relation "monitoring.orders" does not exist',
    ],
)
def test_words_that_are_no_secret_stay(words: str) -> None:
    failures = Failures()
    failures.note("schema", words)
    assert failures.last == f"schema: {words}"


async def test_a_formatter_of_the_document_can_be_installed(tmp_path: Path) -> None:
    (block,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    known: dict[str, Any] = {}
    exec(compile(block, "logs.md", "exec"), known)
    logging.getLogger("audit_wrapper").removeHandler(known["handler"])


# -- a bot that has its own idea of logging


def rich_records(**fields: Any) -> Callable[..., logging.LogRecord]:
    """A factory of the bot's: every record carries these."""

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)
        vars(record).update(fields)
        return record

    return make


def failing_records(*_: Any, **__: Any) -> logging.LogRecord:
    raise LookupError("no request is under way")


OWN = dict.fromkeys(("event", "kind", "problem", "account", "journal", "count", "folder", "table"), "the bot's")


@pytest.fixture
def factory() -> Iterator[Callable[[Callable[..., logging.LogRecord]], None]]:
    before = logging.getLogRecordFactory()
    yield logging.setLogRecordFactory
    logging.setLogRecordFactory(before)


def test_fields_of_the_bots_own_stay_beside_ours(factory: Any, caplog: pytest.LogCaptureFixture) -> None:
    factory(rich_records(**OWN))
    Failures({"account": "main"}).note("metrics", "odd")
    (record,) = caplog.records
    assert (record.event, record.account) == ("the bot's", "the bot's")
    assert (record.audit["event"], record.audit["account"]) == ("failure", "main")


def test_where_the_bot_has_our_key_the_words_are_said_all_the_same(
    factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    factory(rich_records(audit="the bot's"))
    Failures().note("metrics", "odd")
    (record,) = caplog.records
    assert record.audit == "the bot's"
    assert record.getMessage().startswith("audit trail: metrics: odd")


class Broken(logging.Handler):
    """Raises whatever it is handed."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise KeyError(f"no such template for {record.levelname}")


@pytest.mark.parametrize("make", [rich_records(audit=1, **OWN), failing_records], ids=["the same key", "a failing one"])
async def test_a_line_that_cannot_be_logged_harms_neither_trade_nor_trail(
    make: Callable[..., logging.LogRecord], memory: Path, factory: Any
) -> None:
    factory(make)
    handler = Broken()
    logging.getLogger("audit_wrapper").addHandler(handler)
    try:
        for situation in (database_away, delivering_again, journal_full, call_not_observed, linking_failed):
            folder = memory / situation.__name__
            folder.mkdir()
            await situation(folder)
            if (folder / "journal").exists():
                assert holder(folder / "journal") is None, "the journal was let go of"
    finally:
        logging.getLogger("audit_wrapper").removeHandler(handler)
