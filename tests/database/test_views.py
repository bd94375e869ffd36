"""The views, against figures worked out by hand."""

from decimal import Decimal as D

import msgspec
import pytest
from positions import Fill, Positions, at

from audit_wrapper.records import Action, Purpose, RecordKind, Request

ENTRY, EXIT = Purpose.ENTRY, Purpose.EXIT


@pytest.fixture(params=["binanceusdm", "bybit"])
def bot(request):
    return Positions(request.param)


@pytest.fixture
def position(store, connection):
    """`await position(bot)` stores what the bot did, and reads its position."""

    async def read(bot, position_id="7"):
        if bot is not None:
            await bot.deliver(store)
        (row,) = await connection.fetch("SELECT * FROM audit.v_positions WHERE position_id = $1", position_id)
        adds_up(row)
        return row

    return read


def adds_up(row):
    if row["intended_result"] is not None and row["slippage"] is not None:
        assert row["intended_result"] - row["slippage"] == row["gross_result"]
    if row["gross_result"] is not None and row["fees"] is not None:
        assert row["gross_result"] - row["fees"] == row["net_result"]


def has(row, **figures):
    wanted = {
        name: D(value) if isinstance(value, str) and value[-1:].isdigit() else value for name, value in figures.items()
    }
    assert {name: row[name] for name in wanted} == wanted


async def test_every_view_can_be_read_where_there_is_nothing(connection):
    names = await connection.fetch("SELECT table_name FROM information_schema.views WHERE table_schema = 'audit'")
    assert len(names) >= 10
    for row in names:
        assert await connection.fetch(f"SELECT * FROM audit.{row['table_name']}") == []


async def test_a_long_position_that_wins(bot, position):
    bot.order(0, "buy", "10", Fill(1, "1.5", "10", "0.006"), purpose=ENTRY, intended="1.48")
    bot.order(600, "sell", "10", Fill(601, "1.7", "10", "0.0068"), purpose=EXIT)
    row = await position(bot)
    # bought for 15, sold for 17: 2; fees 0.0128; meant to be bought for 14.8, so the entry has cost 0.2 more
    has(
        row, symbol="MNTUSDT", side="long", currency="USDT", is_open=False, opened_at=at(1), closed_at=at(601),
        seconds_open="600", entry_quantity="10", entry_price="1.5", exit_quantity="10", exit_price="1.7",
        intended_entry_price="1.48", intended_exit_price=None, entry_slippage="0.2", exit_slippage=None, slippage=None,
        intended_result=None, gross_result="2", fees="0.0128", net_result="1.9872", fees_other=None,
        seconds_without_stop="600", orders=2, fills=2, why_not="no price was meant for the exit",
    )  # fmt: skip
    assert (row["account"], row["exchange"], row["signal_id"]) == ("default", bot.exchange, 42)


async def test_a_short_position_that_loses_at_its_stop(bot, position):
    bot.order(0, "sell", "4", Fill(2, "100", "4", "0.2"), purpose=ENTRY, opens="sell", intended="100.5")
    bot.stop(3, "4", "102", Fill(90, "102.25", "4", "0.2045"), opens="sell")
    row = await position(bot)
    # sold for 400, bought back for 409: -9. Meant: 402 and 408: -6; so it slipped by 2 at the entry and 1 at the stop.
    # The stop was taken at second 4, two seconds after the entry was executed.
    has(
        row, side="short", entry_price="100", exit_price="102.25", intended_entry_price="100.5", intended_exit_price="102",
        entry_slippage="2", exit_slippage="1", slippage="3", intended_result="-6", gross_result="-9", fees="0.4045",
        net_result="-9.4045", seconds_open="88", seconds_without_stop="2", why_not=None,
    )  # fmt: skip


async def test_partial_exits_and_a_scale_in(bot, position):
    bot.order(0, "buy", "2", Fill(1, "10", "2", "0.01"), purpose=ENTRY)
    bot.order(10, "sell", "1", Fill(11, "11", "1", "0.01"), purpose=EXIT)
    bot.order(20, "buy", "3", Fill(21, "12", "1", "0.01"), Fill(22, "12.5", "2", "0.02"), purpose=ENTRY)
    bot.order(30, "sell", "4", Fill(31, "13", "3", "0.03"), Fill(32, "9", "1", "0.01"), purpose=EXIT)
    row = await position(bot)
    # in: 2x10 + 12 + 2x12.5 = 57 for 5; out: 11 + 3x13 + 9 = 59 for 5
    has(
        row, entry_quantity="5", entry_price="11.4", exit_quantity="5", exit_price="11.8", gross_result="2", fees="0.09",
        net_result="1.91", opened_at=at(1), closed_at=at(32), orders=4, fills=6,
    )  # fmt: skip


async def test_fees_in_two_currencies_and_a_rebate(bot, position):
    bot.order(0, "buy", "3", Fill(1, "0.7", "1", "-0.00007"), Fill(2, "0.7", "2", "0.0000021", "BNB"), purpose=ENTRY)
    bot.order(9, "sell", "3", Fill(10, "0.8", "3", "0.0000031", "BNB"), purpose=EXIT)
    row = await position(bot)
    # 3 x 0.1; of the fees only the rebate is in USDT
    has(row, gross_result="0.3", fees="-0.00007", net_result="0.30007", fees_other='{"BNB": 0.0000052}')


async def test_a_stop_that_is_moved_and_then_fires(bot, position, connection):
    bot.order(0, "buy", "10", Fill(1, "5", "10"), purpose=ENTRY)
    first = bot.stop(10, "10", "4.5")
    bot.cancel(100, first)
    bot.stop(102, "10", "4.8", Fill(200, "4.75", "10"))
    row = await position(bot)
    # none from the entry (1) to the answer to the first stop (11), none from the answer to its cancel (101) to that of the
    # second one (103), which fires at 200
    has(
        row,
        seconds_without_stop="12",
        intended_exit_price="4.8",
        exit_slippage="0.5",
        gross_result="-2.5",
        closed_at=at(200),
    )
    stops = await connection.fetch("SELECT * FROM audit.v_position_stops WHERE position_id = '7' ORDER BY from_at")
    assert [(s["from_at"], s["until_at"], s["has_stop"]) for s in stops] == [
        (at(1), at(11), False), (at(11), at(101), True), (at(101), at(103), False), (at(103), at(200), True),
    ]  # fmt: skip
    keys = await connection.fetch("SELECT order_key FROM audit.v_orders WHERE type = 'STOP_MARKET' ORDER BY created_at")
    assert [s["order_key"] for s in stops] == [None, keys[0]["order_key"], None, keys[1]["order_key"]]


async def test_a_stop_set_on_the_position_is_followed_by_the_next_without_a_gap(position, connection):
    bot = Positions("bybit")
    bot.order(0, "buy", "10", Fill(1, "5", "10"), purpose=ENTRY)
    bot.attached_stop(2, "4.5")
    bot.attached_stop(50, "4.8")
    bot.order(99, "sell", "10", Fill(100, "6", "10"), purpose=EXIT)
    has(await position(bot), seconds_without_stop="2", closed_at=at(100))
    stops = await connection.fetch("SELECT * FROM audit.v_position_stops ORDER BY from_at")
    assert [(s["from_at"], s["until_at"], s["has_stop"]) for s in stops] == [
        (at(1), at(3), False), (at(3), at(51), True), (at(51), at(100), True),
    ]  # fmt: skip
    assert stops[1]["order_key"] != stops[2]["order_key"]


async def test_a_stop_that_is_canceled_with_all_others(bot, position, connection):
    paths = {"bybit": ["/v5/order/cancel-all"], "binanceusdm": ["/fapi/v1/allOpenOrders", "/fapi/v1/algoOpenOrders"]}
    bot.order(0, "buy", "10", Fill(1, "5", "10"), purpose=ENTRY)
    stop = bot.stop(1, "10", "4.5")
    for second, path in enumerate(paths[bot.exchange], start=50):
        bot.cancel_all(second, path)
    bot.order(80, "sell", "10", Fill(90, "6", "10"), purpose=EXIT)
    shown = {
        "id": stop,
        "symbol": bot.market.symbol,
        "side": "sell",
        "type": "stop_market",
        "amount": "10",
        "filled": "0",
    }
    bot.executed(stop, {**shown, "status": "canceled"}, [])  # the exchange says so, too, much later
    # none from 1 to 2; it stands until all are canceled, and nothing stands until the close at 90
    ended = 51 if bot.exchange == "bybit" else 52
    has(await position(bot), seconds_without_stop=str(1 + 90 - ended))


async def test_a_stop_of_which_nobody_knows(bot, position, connection):
    bot.order(0, "buy", "10", Fill(1, "5", "10"), purpose=ENTRY)
    bot.stop(10, "10", "4.5", answered=False)
    row = await position(bot)
    has(row, seconds_without_stop=None, is_open=None, closed_at=None, net_result=None, entry_price="5", exit_price=None)
    assert row["why_not"].startswith("of 1 of its orders it is not known what was filled")
    stops = await connection.fetch("SELECT * FROM audit.v_position_stops ORDER BY from_at")
    assert [(s["from_at"], s["has_stop"]) for s in stops] == [(at(1), False), (at(10), None)]


async def test_an_open_position(bot, position):
    bot.order(
        0,
        "sell",
        "10",
        Fill(1, "5", "4", "0.01"),
        Fill(2, "5.5", "6", "0.01"),
        purpose=ENTRY,
        opens="sell",
        intended="5.4",
    )
    row = await position(bot)
    # sold 4 for 5 and 6 for 5.5; meant 10 for 5.4: 54 - 53
    has(
        row, is_open=True, side="short", entry_price="5.3", entry_quantity="10", exit_quantity="0", exit_price=None,
        entry_slippage="1", slippage=None, gross_result=None, net_result=None, intended_result=None, fees="0.02",
        closed_at=None, why_not="it is open",
    )  # fmt: skip
    assert row["seconds_open"] == row["seconds_without_stop"] + 0 > 0


async def test_a_position_that_turns_to_the_other_side(bot, position):
    bot.order(0, "buy", "1", Fill(1, "5", "1"), purpose=ENTRY)
    bot.order(5, "sell", "3", Fill(6, "7", "3"), purpose=EXIT)
    bot.order(9, "buy", "2", Fill(10, "6", "2"), purpose=EXIT)
    row = await position(bot)
    # 1 long from 5 to 7, 2 short from 7 to 6: 4 in all
    has(row, gross_result="4", net_result="4", entry_price=None, exit_price=None, slippage=None, entry_quantity=None)
    assert "went through zero" in row["why_not"]


async def test_an_order_whose_outcome_is_not_known(bot, position):
    bot.order(0, "buy", "1", Fill(1, "5", "1"), purpose=ENTRY)
    bot.order(5, "sell", "1", answered=False, purpose=EXIT)
    row = await position(bot)
    has(
        row,
        is_open=None,
        closed_at=None,
        seconds_open=None,
        entry_price="5",
        exit_price=None,
        gross_result=None,
        net_result=None,
    )
    assert row["why_not"].startswith("of 1 of its orders it is not known what was filled")


async def test_an_execution_that_is_missing(bot, position):
    bot.order(0, "buy", "3", Fill(1, "5", "1"), purpose=ENTRY, filled="3")
    bot.order(5, "sell", "3", Fill(6, "7", "3"), purpose=EXIT)
    row = await position(bot)
    has(row, is_open=False, closed_at=None, entry_price=None, exit_price=None, gross_result=None, net_result=None)
    assert "executions of 1 of its orders are missing" in row["why_not"]


async def test_the_first_execution_that_is_missing(bot, position):
    bot.order(0, "buy", "3", purpose=ENTRY, filled="3")
    bot.order(5, "sell", "3", Fill(6, "7", "3"), purpose=EXIT)
    # the first execution that is known of is the exit's
    has(
        await position(bot),
        side=None,
        opened_at=None,
        entry_price=None,
        exit_price=None,
        net_result=None,
        closed_at=None,
    )


async def test_a_fee_that_is_not_known(bot, position):
    bot.order(0, "buy", "3", Fill(1, "5", "3", None), purpose=ENTRY)
    bot.order(5, "sell", "3", Fill(6, "7", "3"), purpose=EXIT)
    row = await position(bot)
    has(row, gross_result="6", fees=None, net_result=None)
    assert "a fee is not known" in row["why_not"]


@pytest.mark.parametrize(
    ("changes", "gross", "why"),
    [
        ({"contract_size": D("0.1")}, "0.6", None),
        ({"contract_size": None}, None, "the size of the contract is not known"),
        ({"symbol": "MNT/USD:MNT", "quote": "USD", "settle": "MNT"}, None, "an inverse contract"),
        ({"type": "option"}, None, "an option"),
        ({"symbol": "MNT/USDT", "type": "spot", "settle": None, "contract_size": None}, "6", None),
    ],
)
async def test_markets(position, changes, gross, why):
    bot = Positions("bybit")
    bot.market = msgspec.structs.replace(bot.market, **changes)
    bot.order(0, "buy", "3", Fill(1, "5", "3"), purpose=ENTRY, intended="4")
    bot.order(5, "sell", "3", Fill(6, "7", "3"), purpose=EXIT, type="limit", limit="7.5")
    row = await position(bot)
    has(row, gross_result=gross, entry_price="5", exit_price="7")
    if gross is not None:
        # 1 more than meant at the entry, 0.5 less at the exit, for 3 each
        has(row, slippage=str(D(gross) / 6 * D("4.5")), why_not=None)
    else:
        assert why in row["why_not"]
        assert row["slippage"] is row["net_result"] is None


# -- over many positions


@pytest.fixture
async def four_positions(bot, store):
    """Three that are closed, with results of 10, -4 and -2; one that is open; and one of which a fee is not known."""
    for number, (bought, sold) in enumerate((("1", "2"), ("2", "1.6"), ("3", "2.8")), start=1):
        begin = number * 1000
        bot.order(
            begin,
            "buy",
            "10",
            Fill(begin + 1, bought, "10", "0.5"),
            purpose=ENTRY,
            position=str(number),
            intended=bought,
        )
        bot.order(
            begin + 9,
            "sell",
            "10",
            Fill(begin + 10, sold, "10", "0.25"),
            purpose=EXIT,
            position=str(number),
            type="limit",
            limit=sold,
        )
    bot.order(9000, "buy", "1", Fill(9001, "1", "1"), purpose=ENTRY, position="4")
    bot.order(9100, "buy", "1", Fill(9101, "1", "1", None), purpose=ENTRY, position="5")
    bot.order(9200, "sell", "1", Fill(9201, "2", "1"), purpose=EXIT, position="5")
    await bot.deliver(store)


async def test_equity_and_drawdown(four_positions, connection):
    rows = await connection.fetch("SELECT * FROM audit.v_equity ORDER BY closed_at")
    # 10 - 0.75, -4 - 0.75, -2 - 0.75
    assert [(r["position_id"], r["net_result"], r["equity"], r["peak"], r["drawdown"]) for r in rows] == [
        ("1", D("9.25"), D("9.25"), D("9.25"), D(0)),
        ("2", D("-4.75"), D("4.5"), D("9.25"), D("4.75")),
        ("3", D("-2.75"), D("1.75"), D("9.25"), D("7.5")),
    ]


async def test_a_drawdown_from_the_beginning(bot, store, connection):
    bot.order(0, "buy", "1", Fill(1, "5", "1"), purpose=ENTRY)
    bot.order(2, "sell", "1", Fill(3, "4", "1"), purpose=EXIT)
    await bot.deliver(store)
    row = await connection.fetchrow("SELECT * FROM audit.v_equity")
    assert (row["equity"], row["peak"], row["drawdown"]) == (D(-1), D(0), D(1))
    row = await connection.fetchrow("SELECT * FROM audit.v_performance")
    assert (row["max_drawdown"], row["profit_factor"], row["sharpe"], row["win_rate"]) == (D(1), D(0), None, D(0))


async def test_performance(four_positions, connection):
    (row,) = await connection.fetch("SELECT * FROM audit.v_performance")
    assert (row["account"], row["currency"], row["positions"], row["wins"], row["losses"]) == (
        "default",
        "USDT",
        3,
        1,
        2,
    )
    assert (row["average_win"], row["average_loss"], row["net_result"]) == (D("9.25"), D("-3.75"), D("1.75"))
    assert (row["fees"], row["slippage"], row["slippage_positions"], row["max_drawdown"]) == (
        D("2.25"),
        D(0),
        3,
        D("7.5"),
    )
    assert (row["unknown"], round(row["win_rate"], 6), round(row["profit_factor"], 6)) == (
        1,
        D("0.333333"),
        D("1.233333"),
    )
    # mean 0.58333; deviations 8.66667, -5.33333, -3.33333: squares 75.1111 + 28.4444 + 11.1111 = 114.6667, half of it
    # 57.3333, its root 7.57188; 0.58333 / 7.57188
    assert round(row["sharpe"], 5) == D("0.07704")


async def test_profit_factor_without_losses(bot, store, connection):
    bot.order(0, "buy", "1", Fill(1, "5", "1"), purpose=ENTRY)
    bot.order(2, "sell", "1", Fill(3, "6", "1"), purpose=EXIT)
    await bot.deliver(store)
    row = await connection.fetchrow("SELECT * FROM audit.v_performance")
    assert (row["profit_factor"], row["average_loss"], row["win_rate"]) == (None, None, D(1))


async def test_accounts_do_not_mix(store, connection):
    for account, sold in (("a", "6"), ("b", "3")):
        bot = Positions("bybit", account)
        bot.order(0, "buy", "1", Fill(1, "5", "1"), purpose=ENTRY)
        bot.order(2, "sell", "1", Fill(3, sold, "1"), purpose=EXIT)
        await bot.deliver(store)
    rows = await connection.fetch("SELECT account, net_result FROM audit.v_performance ORDER BY account")
    assert [tuple(row) for row in rows] == [("a", D(1)), ("b", D(-2))]
    rows = await connection.fetch("SELECT account, net_result FROM audit.v_positions ORDER BY account")
    assert [tuple(row) for row in rows] == [("a", D(1)), ("b", D(-2))]


async def test_daily(four_positions, bot, store, connection):
    bot = Positions(bot.exchange)
    bot._ids = iter(("101", "102"))
    bot.order(43_200, "buy", "1", Fill(43_201, "5", "1", "0.1"), purpose=ENTRY, position="6")  # midnight
    bot.order(43_300, "sell", "1", Fill(43_301, "6", "1", "0.1"), purpose=EXIT, position="6")
    bot.refused(43_400, "-2019", "Margin is insufficient.")
    await bot.deliver(store)
    rows = await connection.fetch("SELECT * FROM audit.v_daily ORDER BY day")
    assert [tuple(row) for row in rows] == [
        (at(0).date(), "default", bot.exchange, "USDT", 4, 9, 9, 0, D("1.75"), D("2.25"), 1),
        (at(43_200).date(), "default", bot.exchange, "USDT", 1, 3, 2, 1, D("0.8"), D("0.2"), 0),
    ]


async def test_slippage_of_orders(bot, store, connection):
    bot.order(0, "buy", "2", Fill(1, "1.5", "2"), purpose=ENTRY, intended="1.4")  # 0.1 worse, for 2
    bot.order(5, "buy", "2", Fill(6, "1.5", "2"), purpose=ENTRY)  # nobody said what for
    bot.order(10, "sell", "2", Fill(11, "1.75", "2"), purpose=EXIT, type="limit", limit="1.7")  # 0.05 better, for 2
    bot.stop(20, "2", "1.3", Fill(30, "1.25", "2"))  # 0.05 worse, for 2
    bot.stop(40, "2", "1.2")  # rests
    bot.order(
        50, "sell", "2", Fill(51, "1", "2"), purpose=EXIT, intended="1.4"
    )  # the price of the entry is not the exit's
    await bot.deliver(store)
    rows = await connection.fetch("SELECT * FROM audit.v_slippage ORDER BY created_at")
    assert [(r["intended_by"], r["intended_price"], r["average_price"], r["filled"], r["slippage"]) for r in rows] == [
        ("atomic", D("1.4"), D("1.5"), D(2), D("0.2")),
        ("limit", D("1.7"), D("1.75"), D(2), D("-0.1")),
        ("trigger", D("1.3"), D("1.25"), D(2), D("0.1")),
    ]


async def test_rejections(bot, store, connection):
    for second in (10, 20):
        bot.refused(second, "-2019", "Margin is insufficient.")
    bot.refused(30, "-1111", "Precision is over the maximum: 3.")
    await bot.deliver(store)
    rows = await connection.fetch("SELECT * FROM audit.v_rejections ORDER BY first_at")
    assert [tuple(row) for row in rows] == [
        (bot.exchange, "default", "-2019", "Margin is insufficient.", 2, at(10), at(20)),
        (bot.exchange, "default", "-1111", "Precision is over the maximum: 3.", 1, at(30), at(30)),
    ]


async def test_latency(bot, store, connection):
    number = bot.stop(0, "1", "5")
    bot.cancel(7, number)
    bot.refused(9, "-2019", "Margin is insufficient.")
    bot.order(11, "buy", "1", answered=False)
    await bot.deliver(store)
    rows = await connection.fetch("SELECT * FROM audit.v_latency ORDER BY called_at")
    assert [(r["action"], r["called_at"], r["answered_at"], r["milliseconds"], r["kind"], r["http_status"]) for r in rows] == [
        ("place", at(0), at(1), D(1000), "acknowledged", None), ("cancel", at(7), at(8), D(1000), "acknowledged", None),
        ("place", at(9), at(10), D(1000), "rejected", None), ("place", at(11), None, None, None, None),
    ]  # fmt: skip


async def test_open_questions(bot, store, connection):
    bot.order(0, "buy", "1", answered=False)
    bot.order(1, "buy", "1", Fill(2, "5", "1"), position=None)
    bot.order(3, "buy", "1", Fill(4, "5", "1", None))
    bot.journal.append(
        RecordKind.UNATTRIBUTED, Action.OTHER, market=bot.market, request=Request(method="POST", path="/x")
    )
    bot.journal.append(RecordKind.GAP, Action.OTHER, reason="3 records are missing")
    if bot.exchange == "bybit":
        bot.attached_stop(50, "4")
    bot.refused(60, "-1", "no")
    await bot.deliver(store)
    await connection.execute(
        "INSERT INTO audit.quarantine (stream, seq, payload, hash, reason, resolved_at) VALUES (gen_random_uuid(), 8, '', '', "
        "'not a record', NULL), (gen_random_uuid(), 9, '', '', 'mended', now())"
    )
    rows = await connection.fetch("SELECT * FROM audit.v_open_questions")
    expected = {
        "unknown": "sent, and no answer recorded yet",
        "unlinked": "buy MARKET 1 belongs to no position that is known",
        "fee_missing": "the exchange was asked for the fee and did not say",
        "unattributed": "a private write that nothing explains: POST /x",
        "gap": "3 records are missing",
    }
    if bot.exchange == "bybit":
        expected["without_id"] = "STOP_LOSS NEW, but the exchange's id of it is not known"
    words = {row["kind"]: row["words"] for row in rows}
    assert words.pop("quarantined").startswith("entry 8 of journal ")
    assert words == expected
    assert len(rows) == len(expected) + 1


async def test_a_record_with_a_nul_in_it(bot, store, connection):
    bot.journal.append(RecordKind.GAP, Action.OTHER, reason="a\0b \\u0000")
    bot.market = msgspec.structs.replace(bot.market, base="\0")
    bot.order(0, "buy", "1", Fill(1, "5", "1"), purpose=ENTRY, intended="4")
    await bot.deliver(store)
    assert await connection.fetchval("SELECT entry_slippage FROM audit.v_positions") == 1
    (row,) = await connection.fetch("SELECT * FROM audit.v_open_questions")
    assert row["words"] == "a\ufffdb \\ufffd"
