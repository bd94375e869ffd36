"""Messages of Binance's user data streams, in the field names of its REST payloads.

Checked against ccxt 4.5.90 (pro/binance.py) and Binance's documentation of the user data streams: spot
`executionReport`; USD-M and COIN-M `ORDER_TRADE_UPDATE`, `ALGO_UPDATE`, `TRADE_LITE`,
`CONDITIONAL_ORDER_TRIGGER_REJECT`; portfolio margin `CONDITIONAL_ORDER_TRADE_UPDATE` [D]; options
`ORDER_TRADE_UPDATE`. ccxt.pro puts the inner object alone into `info`.
- `z`, `ap`, `Z` are of the whole order; `l`, `L`, `n`, `N`, `m`, `t` of the one execution that the message reports
  (`x` is TRADE, or CALCULATED in a liquidation), and mean nothing in any other message.
- `n` and `N` are left out where nothing is charged, and where it is not known yet: absent is not zero.
- A cancelled spot order's `c` is the cancel's own id, `C` the order's.
- A legacy conditional order that fired says EXPIRED with the reason `er` 8 and goes on under the same id [D].
- Options write a charged fee as negative [D].
"""

from typing import Any

from audit_wrapper.exchanges.numbers import Raw, decimal_of, id_of, items, plain, text_of

NO_ORDER = frozenset(
    {
        "ACCOUNT_CONFIG_UPDATE",
        "ACCOUNT_UPDATE",
        "BALANCE_POSITION_UPDATE",
        "GREEK_UPDATE",
        "GRID_UPDATE",
        "MARGIN_CALL",
        "RISK_LEVEL_CHANGE",
        "STRATEGY_UPDATE",
        "balanceUpdate",
        "eventStreamTerminated",
        "externalLockUpdate",
        "liabilityChange",
        "listStatus",
        "listenKeyExpired",
        "openOrderLoss",
        "outboundAccountPosition",
        "riskLevelChange",
        "userLiabilityChange",
        # public
        "24hrMiniTicker",
        "24hrTicker",
        "aggTrade",
        "bookTicker",
        "depthUpdate",
        "forceOrder",
        "kline",
        "markPriceUpdate",
        "trade",
    }
)
"""Events that speak of no single order of the account; `listStatus` names orders that each have a report of their own."""

_ORDER = {
    "s": "symbol",
    "i": "orderId",
    "S": "side",
    "o": "type",
    "ot": "origType",
    "q": "origQty",
    "p": "price",
    "X": "status",
    "z": "executedQty",
    "Z": "cummulativeQuoteQty",
    "ap": "avgPrice",
    "sp": "stopPrice",
    "P": "stopPrice",
    "AP": "activatePrice",
    "R": "reduceOnly",
    "cp": "closePosition",
    "c": "clientOrderId",
    "C": "origClientOrderId",
    "O": "time",
    "T": "updateTime",
}
_ALGO = {
    "s": "symbol",
    "aid": "algoId",
    "caid": "clientAlgoId",
    "S": "side",
    "o": "orderType",
    "q": "quantity",
    "p": "price",
    "X": "algoStatus",
    "ai": "actualOrderId",
    "ap": "actualPrice",
    "aq": "actualQty",
    "tp": "triggerPrice",
    "AP": "activatePrice",
    "R": "reduceOnly",
    "cp": "closePosition",
    "T": "updateTime",
}
_STRATEGY = {
    "s": "symbol",
    "si": "strategyId",
    "c": "newClientStrategyId",
    "S": "side",
    "st": "strategyType",
    "q": "origQty",
    "p": "price",
    "sp": "stopPrice",
    "AP": "activatePrice",
    "os": "strategyStatus",
    "R": "reduceOnly",
    "cp": "closePosition",
    "ut": "updateTime",
    "i": "orderId",
}
_FILL = {
    "s": "symbol",
    "i": "orderId",
    "S": "side",
    "t": "tradeId",
    "l": "qty",
    "L": "price",
    "n": "commission",
    "N": "commissionAsset",
    "m": "isMaker",
    "T": "time",
}
_LITE = {
    "s": "symbol",
    "i": "orderId",
    "S": "side",
    "c": "clientOrderId",
    "q": "origQty",
    "p": "price",
    "T": "updateTime",
}
_OPTION = {
    "s": "symbol",
    "oid": "orderId",
    "c": "clientOrderId",
    "p": "price",
    "S": "status",
    "e": "executedQty",
    "oty": "type",
    "R": "reduceOnly",
    "T": "time",
    "t": "updateTime",
}
_EXECUTIONS = frozenset({"TRADE", "CALCULATED"})
_GOES_ON = "8"


def opened(raw: Raw) -> list[Any] | None:
    """What an envelope of a stream holds; None: it is none."""
    if not ("stream" in raw or "event" in raw or "e" in raw or "result" in raw or "error" in raw):
        return None
    if "stream" in raw and "data" in raw:  # combined streams
        return items(raw["data"]) or [raw["data"]]
    if plain(raw.get("event")):  # a subscription of the WebSocket API
        return [raw["event"]]
    if "id" in raw and ("result" in raw or plain(raw.get("error"))):  # the answer to a request of the WebSocket API
        result = raw.get("result")
        return items(result) or ([result] if any(name in plain(result) for name in ("orderId", "algoId")) else [])
    event, inner = text_of(raw.get("e")), raw.get("o")
    if event in ("ORDER_TRADE_UPDATE", "ALGO_UPDATE"):
        if items(inner):  # options, one entry for each order
            return items(inner)
        return [{"T": raw.get("T"), **plain(inner)}] if plain(inner) else None
    if event == "CONDITIONAL_ORDER_TRADE_UPDATE" and plain(raw.get("so")):
        return [raw["so"]]
    if event == "CONDITIONAL_ORDER_TRIGGER_REJECT" and plain(raw.get("or")):
        return [{"T": raw.get("T"), **plain(raw["or"]), "x": "REJECTED", "X": "REJECTED", "S": None}]
    return None


def is_aside(raw: Raw) -> bool:
    """Is this a known event that speaks of no order?"""
    return text_of(raw.get("e")) in NO_ORDER


def is_order(raw: Raw) -> bool:
    """Is this one order of a stream, out of its envelope?"""
    if "s" not in raw:
        return False
    if is_option(raw):
        return True
    if raw.get("e") not in (None, "executionReport", "TRADE_LITE") or not {"s", "S"} <= raw.keys():
        return False
    return is_algo(raw) or is_strategy(raw) or {"i", "X"} <= raw.keys() or {"i", "t", "l", "L"} <= raw.keys()


def is_algo(raw: Raw) -> bool:
    """Is it a conditional order of the algo service?"""
    return "aid" in raw and "X" in raw


def is_strategy(raw: Raw) -> bool:
    """Is it a conditional order of portfolio margin?"""
    return {"si", "os"} <= raw.keys()


def is_option(raw: Raw) -> bool:
    """Is it an order of options? There `e` is what was filled and `S` the status."""
    return {"s", "oid", "oty"} <= raw.keys()


def order(raw: Raw) -> Raw:
    """The order in a message, by its names of REST; `raw` itself where it is no message."""
    if not is_order(raw):
        return raw
    if is_algo(raw):
        return _named(raw, _ALGO)
    if is_strategy(raw):
        named = _without_ignored(_named(raw, _STRATEGY))
        if text_of(raw.get("os")) not in ("TRIGGERED", "FINISHED"):
            named.pop("orderId", None)
        return named
    if is_option(raw):
        return {**_named(raw, _OPTION), **_signed(raw)}
    if "X" not in raw:
        return _named(raw, _LITE)
    named = _without_ignored(_named(raw, _ORDER))
    if text_of(raw.get("er")) == _GOES_ON:
        named.pop("status", None)
    return named


def executions(raw: Raw) -> list[Raw]:
    """The executions that a message reports, by their names of REST."""
    if not is_order(raw) or is_algo(raw) or is_strategy(raw):
        return []
    if is_option(raw):
        entries = [plain(entry) for entry in items(raw.get("fi"))]
        return [_option_fill(raw, entry) for entry in entries if entry]
    if "x" in raw and text_of(raw["x"]) not in _EXECUTIONS:
        return []
    if not decimal_of(raw.get("l")) or not decimal_of(raw.get("L")):
        return []
    named = _named(raw, _FILL)
    if "X" in raw and (text_of(raw.get("s")) or "").endswith(("-C", "-P")):  # what ccxt.pro makes of `fi` has no X
        charged = decimal_of(raw.get("n"))
        named["commission"] = None if charged is None else charged.copy_negate()
    named["tradeId"] = id_of(raw.get("t"))
    return [named]


def _named(raw: Raw, names: dict[str, str]) -> Raw:
    return {names[name]: value for name, value in raw.items() if name in names}


def _without_ignored(named: Raw) -> Raw:
    """The documentation says to ignore the stop price of a trailing stop."""
    trailing = "TRAILING_STOP_MARKET" in (named.get("type"), named.get("origType"), named.get("strategyType"))
    return {name: value for name, value in named.items() if not (trailing and name == "stopPrice")}


def _signed(raw: Raw) -> Raw:
    """An option's quantity has the side as its sign."""
    quantity = decimal_of(raw.get("q"))
    if quantity is None:
        return {}
    return {"origQty": quantity.copy_abs(), "side": "SELL" if quantity < 0 else "BUY" if quantity > 0 else None}


def _option_fill(raw: Raw, entry: Raw) -> Raw:
    return {
        "symbol": raw.get("s"),
        "orderId": raw.get("oid"),
        "side": _signed(raw).get("side"),
        "tradeId": entry.get("t"),
        "price": entry.get("p"),
        "qty": entry.get("q"),
        "commission": entry.get("f"),  # positive: charged [D]
        "liquidity": entry.get("m"),
        "time": entry.get("T"),
    }
