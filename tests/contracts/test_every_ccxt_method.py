"""Every method of ccxt's Binance and Bybit clients that may change something is driven; none may go unseen.

The lists below were looked at by a person: a method or an endpoint that a newer ccxt brings fails a test here until it is too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from offline_ccxt import API_KEY, ISSUED_KEY, SECRET, SYMBOLS, Sent, described, endpoints, family, offline

from audit_wrapper import calls, codec
from audit_wrapper.calls import CallRow
from audit_wrapper.clients import InstrumentedClient
from audit_wrapper.failures import Failures
from audit_wrapper.journal import MemoryJournal
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Action, Record, RecordKind, Seam

KINDS = ("binance", "binanceusdm", "bybit")
VERBS = re.compile(
    r"^(create|edit|cancel|close|set|add|reduce|borrow|repay|transfer|withdraw|redeem|mint|modify|amend|replace|place|submit"
    r"|execute|liquidate|open|buy|sell|enable|upgrade|stake|deposit|convert|futures)(_|$)"
)
# private writes that touch no order: no row, so what they send is unattributed
MONEY = {
    "borrow_cross_margin", "borrow_isolated_margin", "create_gift_code", "create_sub_account", "futures_transfer",
    "redeem_gift_code", "repay_cross_margin", "repay_isolated_margin", "set_margin", "transfer", "withdraw", "withdraw_ws",
}  # fmt: skip
# the same, but driven as endpoints only: they need chains, coins or accounts that the hand-made markets have not
MONEY_BY_ENDPOINT = {
    "create_deposit_address",
    "mint_tokenized_asset",
    "redeem_tokenized_asset",
    "upgrade_unified_trade_account",
}
# compute, keep or connect something in the client itself (or are an older name that only raises)
HELPERS = {
    "add_fetch_cache", "add_key_in_array_items", "add_pagination_cursor_to_result", "borrow_margin", "cancel_order_request",
    "close", "close_connector", "close_proxy_sessions", "close_ws_clients", "convert_expire_date",
    "convert_expire_date_to_market_id_date", "convert_market_id_expire_date", "convert_ohlcv_to_trading_view",
    "convert_to_big_int", "convert_to_safe_dictionary", "convert_trading_view_to_ohlcv", "convert_type_to_account",
    "create_ccxt_trade_id", "create_expired_option_market", "create_ohlcv_object", "create_order_request",
    "create_safe_dictionary", "deposit_withdraw_fee", "edit_contract_order_request", "edit_order_request",
    "edit_spot_order_request", "enable_demo_trading", "modify_margin_helper", "open", "reduce_fees_by_currency",
    "repay_margin", "set_balance_cache", "set_headers", "set_last_request", "set_last_rest_request_timestamp", "set_markets",
    "set_markets_from_exchange", "set_positions_cache", "set_property", "set_sandbox_mode", "set_take_profit_and_stop_loss_params",
}  # fmt: skip

# what each endpoint that is no GET does: "api: METHOD path path, METHOD path; ..."; those not named are OTHER
ENDPOINTS: dict[str, dict[Action, str]] = {
    "binance": {
        Action.PLACE: """private: POST order order/oco orderList/oco orderList/oto orderList/otoco orderList/opo orderList/opoco
            sor/order; fapiPrivate: POST order batchOrders algoOrder; dapiPrivate: POST order batchOrders algoOrder;
            eapiPrivate: POST order batchOrders block/order/create block/order/execute;
            papi: POST um/order um/conditional/order um/algo/order cm/order cm/conditional/order margin/order margin/order/oco;
            sapi: POST margin/order margin/order/oco algo/spot/newOrderTwap algo/futures/newOrderVp algo/futures/newOrderTwap
            convert/limit/placeOrder equity/order/place""",
        Action.AMEND: """private: POST order/cancelReplace; fapiPrivate: PUT order batchOrders; dapiPrivate: PUT order batchOrders;
            eapiPrivate: PUT block/order/create; papi: PUT um/order cm/order""",
        Action.CANCEL: """private: DELETE order orderList; fapiPrivate: DELETE order batchOrders algoOrder;
            dapiPrivate: DELETE order batchOrders algoOrder; eapiPrivate: DELETE order batchOrders block/order/create;
            papi: DELETE um/order um/conditional/order um/algo/order cm/order cm/conditional/order margin/order margin/orderList;
            sapi: DELETE margin/order margin/orderList algo/spot/order algo/futures/order, POST convert/limit/cancelOrder
            equity/order/cancel""",
        Action.CANCEL_ALL: """private: DELETE openOrders; fapiPrivate: DELETE allOpenOrders algoOpenOrders;
            dapiPrivate: DELETE allOpenOrders algoOpenOrders; eapiPrivate: DELETE allOpenOrders allOpenOrdersByUnderlying;
            papi: DELETE um/allOpenOrders um/conditional/allOpenOrders um/algo/allOpenOrders cm/allOpenOrders
            cm/conditional/allOpenOrders margin/allOpenOrders; sapi: DELETE margin/openOrders, POST equity/order/cancel-all""",
        Action.ACCOUNT: """fapiPrivate: POST positionSide/dual positionMargin marginType leverage countdownCancelAll
            multiAssetsMargin feeBurn; dapiPrivate: POST positionSide/dual positionMargin marginType leverage countdownCancelAll;
            eapiPrivate: POST countdownCancelAll countdownCancelAllHeartBeat mmpSet mmpReset;
            papi: POST um/leverage cm/leverage um/positionSide/dual cm/positionSide/dual um/feeBurn; sapi: POST margin/max-leverage""",
    },
    "bybit": {
        Action.PLACE: """private: POST v5/order/create v5/order/create-batch spot/v3/private/order contract/v3/private/order/create
            contract/v3/private/copytrading/order/create unified/v3/private/order/create unified/v3/private/order/create-batch
            v5/alpha/prediction/buy v5/alpha/prediction/sell""",
        Action.AMEND: """private: POST v5/order/amend v5/order/amend-batch contract/v3/private/order/replace
            unified/v3/private/order/replace unified/v3/private/order/replace-batch""",
        Action.CANCEL: """private: POST v5/order/cancel v5/order/cancel-batch spot/v3/private/cancel-order
            contract/v3/private/order/cancel contract/v3/private/copytrading/order/cancel unified/v3/private/order/cancel
            unified/v3/private/order/cancel-batch spot/v3/private/cancel-orders spot/v3/private/cancel-orders-by-ids
            v5/event/cancel""",
        Action.CANCEL_ALL: """private: POST v5/order/cancel-all contract/v3/private/order/cancel-all
            unified/v3/private/order/cancel-all""",
        Action.CLOSE: """private: POST contract/v3/private/copytrading/order/close contract/v3/private/copytrading/position/close""",
        Action.SET_STOPS: """private: POST v5/position/trading-stop contract/v3/private/position/trading-stop
            contract/v3/private/copytrading/order/trading-stop unified/v3/private/position/trading-stop""",
        Action.ACCOUNT: """private: POST v5/order/disconnected-cancel-all v5/position/set-leverage v5/position/switch-isolated
            v5/position/set-tpsl-mode v5/position/switch-mode v5/position/set-risk-limit v5/position/set-auto-add-margin
            v5/position/add-margin v5/position/confirm-pending-mmr v5/account/set-margin-mode v5/account/set-hedging-mode
            v5/account/mmp-modify v5/account/mmp-reset v5/account/set-limit-px-action v5/account/set-delta-mode
            v5/account/set-collateral-switch v5/account/set-collateral-switch-batch v5/spot-margin-trade/switch-mode
            v5/spot-margin-trade/set-leverage v5/spot-margin-trade/set-auto-repay-mode
            contract/v3/private/copytrading/position/set-leverage contract/v3/private/position/set-auto-add-margin
            contract/v3/private/position/switch-isolated contract/v3/private/position/switch-mode
            contract/v3/private/position/switch-tpsl-mode contract/v3/private/position/set-leverage
            contract/v3/private/position/set-risk-limit contract/v3/private/account/setMarginMode
            unified/v3/private/position/set-leverage unified/v3/private/position/tpsl/switch-mode
            unified/v3/private/position/set-risk-limit unified/v3/private/account/setMarginMode""",
    },
}
# no GET, and nothing is changed by it: an order is tested, a stream is kept open, something is asked for
READS: dict[str, str] = {
    "binance": """private: POST order/test sor/order/test; public: POST userDataStream, PUT userDataStream, DELETE userDataStream;
        fapiPrivate: POST order/test listenKey convert/getQuote, PUT listenKey, DELETE listenKey;
        dapiPrivate: POST listenKey, PUT listenKey, DELETE listenKey; eapiPrivate: POST listenKey, PUT listenKey, DELETE listenKey;
        papi: POST listenKey, PUT listenKey, DELETE listenKey; sapiV3: POST asset/getUserAsset;
        sapi: POST asset/get-funding-asset userDataStream userDataStream/isolated userListenToken apiReferral/rebate/historicalRecord
        apiReferral/kickback/historicalRecord broker/rebate/historicalRecord convert/getQuote equity/listenKey,
        PUT userDataStream userDataStream/isolated, DELETE userDataStream userDataStream/isolated""",
    "bybit": """private: POST v5/order/pre-check v5/asset/covert/get-quote v5/broker/award/info
        v5/broker/award/distribution-record v5/spot-x/launchpool/user/activity-log v5/spot-x/launchpool/user/history
        v5/alpha/prediction/event-detail v5/alpha/prediction/order-estimate v5/alpha/prediction/order-list
        v5/alpha/prediction/order-book v5/alpha/prediction/token-price v5/alpha/prediction/price-history
        v5/alpha/prediction/position-list v5/alpha/prediction/position-history v5/alpha/prediction/portfolio-summary
        v5/alpha/prediction/side-market-list v5/alpha/prediction/sports/match-list v5/alpha/prediction/sports/group-stage-detail
        fht/compliance/tax/v3/private/status""",
}

VALUES: dict[str, Any] = {
    "type": "limit", "side": "buy", "amount": 10, "price": 1.1, "cost": 10, "id": "5", "ids": ["5", "6"],
    "clientOrderId": "a", "clientOrderIds": ["a", "b"], "marginMode": "cross", "hedged": False, "leverage": 3,
    "timeout": 60_000, "takeProfit": 1.5, "stopLoss": 1.0, "takeProfitPrice": 1.5, "stopLossPrice": 1.0, "triggerPrice": 1.3,
    "trailingAmount": 0.1, "trailingPercent": 1, "trailingTriggerPrice": 1.3, "code": "USDT", "fromCode": "USDT",
    "toCode": "BTC", "fromAccount": "spot", "toAccount": "future", "address": "0xabcdef0123456789", "tag": None, "duration": 600,
}  # fmt: skip
PARAMS: list[dict[str, Any]] = [
    {}, {"triggerPrice": 1.3}, {"stopLossPrice": 1.0}, {"stopLossPrice": 1.0, "takeProfitPrice": 2.0}, {"trailingAmount": 0.5},
    {"portfolioMargin": True}, {"portfolioMargin": True, "triggerPrice": 1.3}, {"portfolioMargin": True, "trigger": True},
    {"marginMode": "cross"}, {"trigger": True}, {"test": True}, {"clientOrderId": "given"},
]  # fmt: skip


class Rig:
    """A client that is observed, what it sent, and the records that were written since they were last looked at."""

    def __init__(self, kind: str, *, blocking: bool = False) -> None:
        self.kind = kind
        self.client, self.sent = offline(kind, blocking=blocking)
        self.failures = Failures()
        self.journal = MemoryJournal()
        self.recorder = Recorder(self.journal, account="default", failures=self.failures)
        InstrumentedClient(self.client, self.recorder)
        self.endpoints = endpoints(self.client)
        self.actions = actions_by_url(self)
        self._seen = 0

    def take(self) -> list[Record]:
        entries = self.journal.read(self._seen, 1_000)
        self._seen += len(entries)
        return [codec.decode(entry.payload) for entry in entries]

    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> BaseException | None:
        """The method called, whatever comes of it."""
        self.sent.clear()
        try:
            result = getattr(self.client, name)(*args, **kwargs)
            if inspect.isawaitable(result):
                await result
        except Exception as problem:
            return problem
        return None

    def bytes(self) -> bytes:
        return b"".join(entry.payload for entry in self.journal.read(0, 1_000_000, 1 << 40))


def listed(text: str) -> Iterator[tuple[str, str, str]]:
    for group in text.split(";"):
        api, _, rest = group.partition(":")
        for part in rest.split(","):
            method, *paths = part.split()
            yield from ((api.strip(), method, path) for path in paths)


def actions_of(kind: str) -> dict[tuple[str, str, str], Action]:
    table = ENDPOINTS[family(kind)]
    return {endpoint: action for action, text in table.items() for endpoint in listed(text)}


def actions_by_url(rig: Rig) -> dict[tuple[str, str], Action | None]:
    """(method, path as it is sent) -> what it does; None for what is looked at and changes nothing."""
    known, reads = actions_of(rig.kind), set(listed(READS[family(rig.kind)]))
    found: dict[tuple[str, str], Action | None] = {}
    for api, method, path in set(rig.endpoints.values()):
        if method != "GET":
            url = rig.client.sign(path, api.split("/"), method, {})["url"].split("?")[0]
            action = None if (api, method, path) in reads else known.get((api, method, path), Action.OTHER)
            found[(method, "/" + url.split("/", 3)[3])] = action
    return found


def check(rig: Rig, sent: list[Sent], records: list[Record], name: str, row: CallRow | None = None) -> None:
    """Each write that reached the transport has its intent and its outcome, and nothing else has any. row: of the method."""
    writes = [one for one in sent if one.method != "GET" and rig.actions[(one.method, one.path)] is not None]
    asked = [r for r in records if r.intent_id is None and r.request is not None]
    assert [(r.request.method, r.request.path) for r in asked if r.request] == [(w.method, w.path) for w in writes], (
        name
    )
    for record, write in zip(asked, writes, strict=True):
        action = rig.actions[(write.method, write.path)]
        outcomes = [r for r in records if r.intent_id == record.record_id]
        assert len(outcomes) == 1, name
        (outcome,) = outcomes
        assert outcome.request == record.request
        assert outcome.response is not None
        assert outcome.response.http_status == 200
        assert outcome.duration_us is not None
        assert outcome.duration_us >= 0
        assert record.duration_us is None
        if action is Action.OTHER and row is not None:  # the method says what the endpoint does not
            assert (record.kind, record.action) == (RecordKind.INTENT, row.action), (name, write.path)
        elif action is Action.OTHER:
            assert (record.kind, outcome.kind) == (RecordKind.UNATTRIBUTED,) * 2, (name, write.path)
            assert record.action is Action.OTHER
        else:
            assert record.kind is RecordKind.INTENT, (name, write.path)
            assert outcome.kind is RecordKind.ACKNOWLEDGED or outcome.reason, (name, write.path)
            assert record.action is action, (name, write.path)
            if action is not Action.ACCOUNT:
                assert outcome.response.text == write.answer, "each digit of it"
        assert record.request is not None
        assert (record.request.params or "") == without_secrets(write), "what was sent, to the letter"


def without_secrets(sent: Sent) -> str:
    """What was sent, without what proves who sent it (nothing of the library's is used for it)."""
    body = sent.body or ""
    if body[:1] == "{":
        return re.sub(r'"(listenKey|api_key|sign)":"[^"]*"', r'"\1":"removed"', body)
    parts = [*sent.url.partition("?")[2].split("&"), *body.split("&")]
    names = ("signature=", "sign=", "api_key=", "listenKey=", "token=")  # a gift card names its coin so
    return "&".join(part for part in parts if part and not part.startswith(names))


def arguments(function: Any, symbol: str, params: dict[str, Any]) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "symbol":
            taken[name] = symbol
        elif name == "orders":
            order = {"symbol": symbol, "type": "limit", "side": "buy", "price": 1.1}
            taken[name] = [{**order, "amount": n, "id": str(n), "params": dict(params)} for n in (10, 11)]
        elif name == "order":
            taken[name] = {"id": "5", "symbol": symbol}
        elif name == "params":
            taken[name] = dict(params)
        elif name in VALUES:
            taken[name] = VALUES[name]
        elif parameter.default is inspect.Parameter.empty:
            taken[name] = 10
    return taken


def unified(client: Any) -> list[str]:
    implicit = endpoints(client)
    return [n for n in dir(client) if VERBS.match(n) and n not in implicit and callable(getattr(client, n))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_was_looked_at(kind: str) -> None:
    client, _ = offline(kind)
    names = set(unified(client))
    reviewed = {*calls.CLIENT, *MONEY, *MONEY_BY_ENDPOINT, *HELPERS}
    assert names - reviewed == set(), "a new ccxt has methods that nobody looked at: a row in calls.py, or a line here"
    assert not ({*MONEY, *MONEY_BY_ENDPOINT, *HELPERS} & set(calls.CLIENT))
    assert {name for name in calls.CLIENT if hasattr(client, name)} <= names, "a row that is not driven"


@pytest.mark.parametrize("kind", KINDS)
def test_every_endpoint_was_looked_at(kind: str) -> None:
    client, _ = offline(kind)
    found = described(client)
    assert set(endpoints(client).values()) == found
    known = {*actions_of(kind), *listed(READS[family(kind)])}
    assert known <= found, "a line here for an endpoint that is gone"
    assert all(method != "GET" for _, method, _ in known)


@pytest.mark.parametrize(
    ("kind", "blocking", "variants"),
    [("binance", False, PARAMS), ("bybit", False, PARAMS), ("binance", True, PARAMS[:3]), ("bybit", True, PARAMS[:3]),
     ("binanceusdm", False, PARAMS[:3])],
    ids=["binance", "bybit", "binance-blocking", "bybit-blocking", "binanceusdm"],
)  # fmt: skip
async def test_every_unified_method(kind: str, blocking: bool, variants: list[dict[str, Any]]) -> None:
    rig = Rig(kind, blocking=blocking)
    signatures: set[str] = set()
    reached: set[tuple[str, str]] = set()
    for name in unified(rig.client):
        row = calls.CLIENT.get(name)
        if row is None and name not in MONEY:
            continue
        function = getattr(rig.client, name)
        answered = over_socket = False
        problems: list[BaseException] = []
        for symbol in SYMBOLS:
            for params in variants:
                problem = await rig.call(name, **arguments(function, symbol, params))
                records = rig.take()
                if row is not None and row.websocket:
                    assert rig.sent == []
                    assert [r.kind for r in records][:1] == [RecordKind.INTENT], name
                    assert [r.intent_id for r in records[1:]] == [records[0].record_id], name
                    assert {r.action for r in records} == {row.action}, name
                    assert {r.call.method for r in records if r.call} == {name}
                    assert {r.duration_us for r in records} == {None}
                    over_socket |= problem is None
                else:
                    check(rig, rig.sent, records, name, row)
                answered |= any(one.method != "GET" for one in rig.sent)
                signatures.update(s for one in rig.sent for s in one.signatures)
                reached.update((one.method, one.path) for one in rig.sent if one.method != "GET")
                problems += [problem] if problem is not None else []
        if not answered and not over_socket:
            unsupported = {type(problem).__name__ for problem in problems} <= {"NotSupported", "BadRequest"}
            assert unsupported or name in MONEY, f"{name} never reached the exchange: {problems[:1]}"
    assert rig.failures.counts == {}
    assert rig.recorder.under_way == 0
    orders = {where for where in reached if rig.actions[where] not in (None, Action.OTHER, Action.ACCOUNT)}
    assert len(orders) >= (7 if kind == "bybit" else 15 if len(variants) == 3 else 40), orders
    secrets_stay_out(rig, signatures)


def secrets_stay_out(rig: Rig, signatures: set[str]) -> None:
    kept = rig.bytes()
    assert len(signatures) > 100
    for secret in (API_KEY, SECRET, ISSUED_KEY, *signatures):
        assert secret.encode() not in kept


@pytest.mark.parametrize("kind", KINDS)
async def test_every_endpoint_in_every_spelling(kind: str) -> None:
    rig = Rig(kind)
    signatures: set[str] = set()
    for name, (_, method, path) in rig.endpoints.items():
        params = {"symbol": "BTCUSDT", "side": "BUY", "listenKey": ISSUED_KEY, "note": f"n-{path}"}
        assert await rig.call(name, params) is None, name
        assert [one.method for one in rig.sent] == [method]
        records = rig.take()
        check(rig, rig.sent, records, name)
        if method == "GET":
            assert records == [], f"{name} is a read"
        for record in records:
            assert record.call is not None
            assert (record.call.seam, record.call.arguments.get("note")) == (Seam.TRANSPORT, f"n-{path}")
            assert record.call.arguments.get("listenKey") == "removed"
        signatures.update(s for one in rig.sent for s in one.signatures)
    assert rig.failures.counts == {}
    secrets_stay_out(rig, signatures)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_endpoint_by_way_of_request_and_fetch(kind: str) -> None:
    rig = Rig(kind)
    for api, method, path in sorted(set(rig.endpoints.values())):
        group = api.split("/")
        assert await rig.call("request", path, group, method, {"symbol": "BTCUSDT"}) is None
        check(rig, rig.sent, rig.take(), path)
        assert await rig.call("request", path=path, api=group, method=method, params={"symbol": "BTCUSDT"}) is None
        check(rig, rig.sent, rig.take(), path)
        if method != "GET":
            signed = rig.client.sign(path, group, method, {"symbol": "BTCUSDT"})
            assert await rig.call("fetch", signed["url"], method, signed["headers"], signed["body"]) is None
            check(rig, rig.sent, rig.take(), path)
    assert rig.failures.counts == {}
    assert rig.recorder.under_way == 0
