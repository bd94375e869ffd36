"""The steps of a story and its first lines, where no exchange can be made to do it: rare records, figures worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from audit_wrapper import codec
from audit_wrapper.command.headline import header
from audit_wrapper.records import Action, Call, Failure, Market, Operation, Record, RecordKind, Request, Seam
from audit_wrapper.tables import telling
from audit_wrapper.tables.finding import Meant
from audit_wrapper.tables.steps import Told, steps
from audit_wrapper.tables.story import Figures, Story, _of_views

STREAM, START = uuid4(), datetime(2026, 1, 1, 12, tzinfo=UTC)
MARKET = Market(symbol="MNT/USDT:USDT", exchange_symbol="MNTUSDT")


def at(milliseconds: float) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def order(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "order_key": uuid4(), "order_id": "1", "purpose": "entry", "type": "MARKET", "created_at": at(0).replace(tzinfo=None),
        "replaced_by": None, "trigger_price": None, "position_id": "5", "signal_id": 9, "side": "buy",
    }  # fmt: skip
    return {**made, **changes}


def record(kind: RecordKind, action: Action = Action.PLACE, **fields: Any) -> Record:
    made: dict[str, Any] = {"record_id": uuid4(), "exchange": "kraken", "market": MARKET, "called_at": at(0)}
    return Record(version=codec.VERSION, kind=kind, action=action, **{**made, **fields})


def client_call(**arguments: Any) -> Call:
    return Call(seam=Seam.CLIENT, target="kraken", method="create_order", arguments=arguments)


def tell(*told: tuple[Record, UUID | None], orders: list[dict[str, Any]], fills: Any = ()) -> list[tuple[Any, ...]]:
    lines = [
        Told(STREAM, seq, one, {key: ("order",)} if key is not None else {}) for seq, (one, key) in enumerate(told, 1)
    ]
    return [(step.role, step.what, step.words, step.since_us) for step in steps(lines, orders, fills)]


def test_every_attempt_is_told_with_its_number_and_when_it_left() -> None:
    row = order()
    request = Request(method="POST", path="/order", params='{"qty": 1.50, "timestamp": 1}')
    found, seen = [], []
    for attempt in (1, 2):
        sent = record(RecordKind.INTENT, attempt=attempt, request=request, called_at=at(10 * attempt))
        lost = record(
            RecordKind.OUTCOME_UNKNOWN,
            intent_id=sent.record_id,
            attempt=attempt,
            failure=Failure(type="RequestTimeout", message="no answer"),
            answered_at=at(10 * attempt + 8),
            duration_us=5_000,  # so it left 3 ms after it was called: the rate limiter let it wait
        )
        found += [(sent, row["order_key"]), (lost, row["order_key"])]
        seen += [
            (
                "entry",
                "sent",
                f"{'attempt 2: ' if attempt == 2 else ''}POST /order qty=1.50",
                None if attempt == 1 else 5_000,
            ),
            ("entry", "no answer", "RequestTimeout: no answer", 5_000),
        ]
    assert tell(*found, orders=[row]) == seen


def test_what_was_meant_is_told_though_the_process_died_within_the_call() -> None:
    row = order()
    meant = Call(
        seam=Seam.MANAGER, target="Manager", method="buy", arguments={"symbol": "MNTUSDT", "amount": Decimal("3.75")}
    )
    sent = record(
        RecordKind.INTENT, call=client_call(amount=Decimal(3)), meant=meant, operation=Operation(correlation_id=uuid4())
    )
    assert [line[1:3] for line in tell((sent, row["order_key"]), orders=[row])] == [
        ("meant", "buy(symbol=MNTUSDT, amount=3.75)"),
        ("sent", "create_order(amount=3)"),
    ]
    whole = record(RecordKind.REPORTED, call=meant, called_at=at(-5), answered_at=at(50), result={"id": "1"})
    told = tell((sent, row["order_key"]), (whole, None), orders=[row])
    assert [line[1] for line in told] == ["meant", "sent"], "and once, where it is known when it began"
    assert told[1][3] == 5_000


def test_the_bots_own_failure_is_a_step() -> None:
    call = Call(seam=Seam.MANAGER, target="Manager", method="close", arguments={})
    operation = Operation(correlation_id=uuid4(), method="close")
    bad = record(
        RecordKind.REPORTED,
        call=call,
        operation=operation,
        answered_at=at(9),
        failure=Failure(type="Sad", message="no\nway"),
    )
    no = record(
        RecordKind.REPORTED,
        call=call,
        operation=operation,
        answered_at=at(9),
        result={"success": False, "error": "gone"},
    )
    assert tell((bad, None), orders=[order()])[1][1:3] == ("raised", "close raised Sad: no way")
    assert tell((no, None), orders=[order()])[1][1:3] == ("returned", "close returned success=False, error=gone")


def test_an_execution_by_a_clock_that_is_behind_comes_after_its_order() -> None:
    row = order()
    sent = record(RecordKind.INTENT, call=client_call(amount=1))
    fill = {
        "order_key": row["order_key"], "exchange_at": at(-700), "exchange_order_id": "1", "side": "buy", "price": Decimal("1.50"),
        "quantity": Decimal(2), "fee": None, "fee_currency": None, "fee_status": "pending", "liquidity": None,
    }  # fmt: skip
    told = tell((sent, row["order_key"]), orders=[row], fills=[fill])
    assert [line[1] for line in told] == ["sent", "filled"]
    assert told[1] == ("entry", "filled", "buy 2 at 1.50, fee pending", 0)


def test_a_stop_fires_after_it_was_taken_though_the_exchanges_clock_is_behind() -> None:
    row = order(purpose="stop_loss", type="STOP_MARKET", trigger_price=Decimal("1.10"))
    taken = record(
        RecordKind.ACKNOWLEDGED, call=client_call(amount=1), answered_at=at(40), duration_us=5_000, result={"id": "1"}
    )
    fill = {
        "order_key": row["order_key"], "exchange_at": at(39), "exchange_order_id": "1", "side": "sell", "price": Decimal("1.09"),
        "quantity": Decimal(2), "fee": Decimal("-0.1"), "fee_currency": "BNB", "fee_status": "reported", "liquidity": "maker",
    }  # fmt: skip
    told = tell((taken, row["order_key"]), orders=[row], fills=[fill])
    assert [line[:3] for line in told] == [
        ("stop", "placed", "at 1.10, order 1"),
        ("stop", "fired", "its price 1.10 was reached"),
        ("stop", "filled", "sell 2 at 1.09, fee -0.1 BNB, maker"),
    ]


def test_a_private_write_that_nothing_explains_is_told() -> None:
    odd = record(
        RecordKind.UNATTRIBUTED, Action.OTHER, request=Request(method="POST", path="/margin", params="mode=cross")
    )
    assert tell((odd, None), orders=[order()]) == [(None, "unexplained", "POST /margin mode=cross", None)]


def test_parameters_of_every_shape() -> None:
    for given, said in (
        ("a=1&b=", "POST /x a=1 b="),
        ('{"a": 0.10}', "POST /x a=0.10"),
        ("{broken", "POST /x ={broken"),
        ({"a": Decimal("0.10")}, "POST /x a=0.10"),
        (None, "POST /x"),
        ("signature=1&timestamp=2", "POST /x"),
    ):
        assert telling.sent(record(RecordKind.INTENT, request=Request(method="POST", path="/x", params=given))) == said
    long = telling.sent(record(RecordKind.INTENT, request=Request(method="POST", path="/x", params="a=" + "x" * 900)))
    assert len(long) == 240


# -- the first lines

ROW = {
    "side": "long", "currency": "USDT", "opened_at": at(0), "closed_at": at(90_000), "entry_quantity": Decimal(10),
    "entry_price": Decimal("1.2001500000000000"), "exit_quantity": Decimal(10), "exit_price": Decimal("1.1398500000000000"),
    "is_open": False, "entry_slippage": Decimal("0.00150"), "exit_slippage": Decimal("0.10150"), "intended_entry_price": Decimal("1.20"), "intended_exit_price": Decimal("1.15"), "slippage": Decimal("0.10300"),
    "fees": Decimal("0.01170000"), "fees_other": None, "gross_result": Decimal("-0.60300"), "net_result": Decimal("-0.61470000"),
    "why_not": None, "seconds_without_stop": Decimal("0.026861"),
}  # fmt: skip


def lines(row: dict[str, Any] | None, why_not: str | None = None, stops: Any = ()) -> list[str]:
    meant = Meant(position_id="5", account="default", exchange="kraken", symbol="MNTUSDT", at=START, words="")
    story = Story(
        meant=meant, orders=(order(),), fills=(), result=Figures(row=row, why_not=why_not), stops=stops, steps=()
    )
    return [line.plain for line in header(story)]


def test_what_a_position_came_to() -> None:
    stops = ({"has_stop": False}, {"has_stop": True}, {"has_stop": False})
    assert lines(ROW, stops=stops) == [
        "position 5: MNTUSDT long on kraken, account default; signal 9",
        "entry 10 at 1.20015; exit 10 at 1.13985; closed 2026-01-01 12:01:30.000 UTC after 90.00 s",
        "result -0.61470000 USDT = -0.60300 USDT by the prices, less fees 0.01170000 USDT",
        "slippage 0.10300 USDT against the prices that were meant: 1.2 in, 1.15 out",
        "without a stop for 26.9 ms, 2 times",
    ]
    others = {**ROW, "fees_other": '{"MNT": 1.20, "BNB": 0.00000099}'}
    assert lines(others)[4] == "fees in other currencies: 0.00000099 BNB, 1.20 MNT"


def test_what_is_not_known_is_said_with_its_reason() -> None:
    why = "it is open"
    unknown = dict.fromkeys(
        (
            "closed_at",
            "exit_price",
            "intended_exit_price",
            "exit_slippage",
            "slippage",
            "gross_result",
            "net_result",
        )
    )
    row = {**ROW, **unknown, "is_open": True, "exit_quantity": Decimal(0), "seconds_without_stop": Decimal(0)}
    assert lines(row, why)[1:] == [
        "entry 10 at 1.20015; exit none; open",
        "result not known: it is open; fees 0.01170000 USDT",
        "slippage not known: it is open; of the entry it is 0.00150 USDT, meant at 1.2",
        "it never stood without a stop",
    ]
    assert lines({**row, "seconds_without_stop": None}, why)[-1].startswith(
        "how long it stood without a stop is not known"
    )
    assert lines({**row, "is_open": None}, why)[1].endswith("; whether it is open is not known")
    assert lines({**row, "is_open": False}, why)[1].endswith("; closed, when is not known")
    assert lines(None, "there is no view") == [
        "position 5: MNTUSDT long on kraken, account default; signal 9",
        "result, fees, slippage and time without a stop are not known: there is no view",
    ]


def test_each_figure_has_the_causes_of_its_own() -> None:
    no_fee = {**ROW, "fees": None, "net_result": None}
    assert lines(no_fee, "a fee is not known")[2:4] == [
        "result -0.60300 USDT by the prices; less fees it is not known: a fee is not known",
        "slippage 0.10300 USDT against the prices that were meant: 1.2 in, 1.15 out",
    ]
    unmeant = {"slippage": None, "exit_slippage": None, "intended_exit_price": None}
    why = "no price was meant for the exit"
    assert lines({**ROW, **unmeant}, why)[2:4] == [
        "result -0.61470000 USDT = -0.60300 USDT by the prices, less fees 0.01170000 USDT",
        "slippage not known: no price was meant for the exit; of the entry it is 0.00150 USDT, meant at 1.2",
    ]
    assert lines({**no_fee, **unmeant}, f"a fee is not known; {why}")[2:4] == [
        "result -0.60300 USDT by the prices; less fees it is not known: a fee is not known",
        "slippage not known: no price was meant for the exit; of the entry it is 0.00150 USDT, meant at 1.2",
    ]
    gone = {**no_fee, **unmeant, "gross_result": None, "entry_slippage": None}
    why = f"executions of 1 of its orders are missing; a fee is not known; {why}"
    assert lines(gone, why)[2:4] == [
        "result not known: executions of 1 of its orders are missing; a fee is not known; fees not known",
        "slippage not known: executions of 1 of its orders are missing; no price was meant for the exit",
    ]


def test_without_a_stop_has_no_duration_where_it_is_not_known() -> None:
    interval = {"from_at": at(0), "until_at": at(5_000), "has_stop": False}
    for seconds, words in ((Decimal(5), " for 5.00 s"), (None, "")):
        (step,) = _of_views(Figures(row={"seconds_without_stop": seconds}), [interval])
        assert (step.what, step.words) == ("no stop", f"the position stands without a stop{words}")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0004, "0.4 ms"),
        (0.9, "900.0 ms"),
        (1.5, "1.50 s"),
        (119, "119.00 s"),
        (600, "10 min 0 s"),
        (9000, "2 h 30 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert telling.span(timedelta(seconds=seconds)) == said
