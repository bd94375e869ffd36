"""Where ccxt's unified dict says something other than the exchange: facts of exchanges without a module of
their own.

Each function looks at one raw payload and returns what to put in the place of ccxt's fields. Only what is
certain from the payload is here; each was checked against ccxt 4.5.90. Fees: positive is charged, negative a
rebate.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from audit_wrapper.exchanges.fees import added, fee_of
from audit_wrapper.exchanges.numbers import Raw, decimal_of, id_of, items, parsed, plain, text_of, truth_of
from audit_wrapper.exchanges.words import side_of
from audit_wrapper.records import Fee


class Facts(NamedTuple):
    """`instead`: an order's fields in place of ccxt's. `fees`: likewise; None: ccxt's stand; (): not said."""

    of_payload: Callable[[Raw], "Facts"] | None = None
    instead: Mapping[str, object] = MappingProxyType({})
    fees: tuple[Fee, ...] | None = None
    child_id: str | None = None


NO_FACTS = Facts()


def facts_of(exchange_id: str) -> Facts:
    """The facts of an exchange; none for one that needs none."""
    of_payload = _BY_EXCHANGE.get(exchange_id)
    return NO_FACTS if of_payload is None else Facts(of_payload)


def _negated(raw: Raw, amount: str, currency: object) -> tuple[Fee, ...] | None:
    """The exchange writes what it charges as a negative number."""
    number = decimal_of(raw.get(amount))
    return None if number is None else added([fee_of(number.copy_negate(), currency)])


def _okx(raw: Raw) -> Facts:
    """A fired child order carries `algoId` too and ccxt takes that for its id, while its fills name `ordId`.

    An algo order (it has `actualSz`) keeps `algoId`; its `ordId`, once there is one, is the child. ccxt
    writes `reduceOnly: False` where the answer has no such field. `fee` is negative when charged, as ccxt
    knows.
    """
    instead: Raw = {"reduceOnly": truth_of(raw.get("reduceOnly"))}
    algo, order = id_of(raw.get("algoId")), id_of(raw.get("ordId"))
    is_algo = algo is not None and ("actualSz" in raw or order is None)
    if order is not None and not is_algo:
        instead["id"] = order
    if is_algo:
        instead["clientOrderId"] = text_of(raw.get("algoClOrdId")) or text_of(raw.get("clOrdId"))
        actual = decimal_of(raw.get("actualSz"))
        instead["filled"] = actual if actual or text_of(raw.get("state")) in ("live", "pause") else None
    return Facts(instead=instead, child_id=order if is_algo else None)


def _gate(raw: Raw) -> Facts:
    """A spot market buy is counted in quote currency; ccxt divides by the average price and loses digits.

    `text` holds the client id only with the prefix "t-"; 'api', 'web' and the like name where the order came
    from.
    """
    instead: Raw = {}
    text = text_of(raw.get("text"))
    if text is not None and not text.startswith("t-"):
        instead["clientOrderId"] = None
    if raw.get("currency_pair") and raw.get("type") == "market" and side_of(raw.get("side")) == "buy":
        instead |= {"amount": None, "remaining": None, "filled": decimal_of(raw.get("filled_amount"))}
    return Facts(instead=instead, child_id=id_of(raw.get("trade_id")) if "trigger" in raw else None)


def _kraken(raw: Raw) -> Facts:
    """`userref: 0` is no client id. A stop is `descr.ordertype: "stop-loss"` with its trigger in `descr.price`."""
    instead: Raw = {}
    if id_of(raw.get("cl_ord_id")) is None and "userref" in raw:
        instead["clientOrderId"] = id_of(raw.get("userref"))
    descr = plain(raw.get("descr"))
    kind = text_of(descr.get("ordertype"))
    types = {
        "stop-loss": "stop_market",
        "stop-loss-limit": "stop_limit",
        "take-profit": "take_profit",
        "take-profit-limit": "take_profit",
    }
    if kind in types:
        instead |= {"type": types[kind], "triggerPrice": descr.get("price"), "price": descr.get("price2")}
    return Facts(instead=instead)


def _krakenfutures(raw: Raw) -> Facts:
    """REST fills carry no fee; ccxt makes one up from the market's list rate, which is not the account's."""
    named = any("fee" in name.lower() for name in raw if isinstance(name, str))
    return NO_FACTS if named else Facts(fees=())


def _bitget(raw: Raw) -> Facts:
    """Classic: `totalFee` is negative when charged. Unified account: `fee` is positive when charged, yet ccxt
    flips it.

    The latter's `avgPrice` ccxt does not read. The classic order's `feeDetail` is JSON in a string, keyed by coin; its "newFees" entry names no coin.
    """
    detail = parsed(raw.get("feeDetail"))
    entries = [plain(entry) for entry in (plain(detail).values() if plain(detail) else items(detail))]
    fees: list[Fee | None] = []
    for entry in entries:
        coin = text_of(entry.get("feeCoinCode")) or text_of(entry.get("feeCoin"))
        classic, unified = decimal_of(entry.get("totalFee")), decimal_of(entry.get("fee"))
        if coin is not None and classic is not None:
            fees.append(fee_of(classic.copy_negate(), coin))
        elif coin is not None and unified is not None and "category" in raw:
            fees.append(fee_of(unified, coin))
    if "category" not in raw:
        return Facts(fees=added(fees)) if fees else NO_FACTS
    return Facts(instead={"average": raw["avgPrice"]} if "avgPrice" in raw else {}, fees=added(fees))


def _hyperliquid(raw: Raw) -> Facts:
    """`fee` of a fill already includes `builderFee`, which ccxt adds once more.

    The answer to a placed order has `filled.totalSz`: what was filled, which ccxt takes for what was asked too.
    """
    if plain(raw.get("filled")):
        return Facts(instead={"amount": None, "remaining": None})
    if decimal_of(raw.get("builderFee")) is None:
        return NO_FACTS
    return Facts(fees=added([fee_of(decimal_of(raw.get("fee")), raw.get("feeToken"))]))


def _bingx(raw: Raw) -> Facts:
    """`fee`, `commission` are negative when charged; ccxt takes the absolute value, so that a rebate looks
    charged.

    The currency of an order's fee is named in `feeAsset` only; ccxt guesses it otherwise.
    """
    name = next((name for name in ("fee", "commission", "n") if decimal_of(raw.get(name)) is not None), None)
    if name is None:
        return NO_FACTS
    return Facts(fees=_negated(raw, name, first_text(raw, "feeAsset", "commissionAsset", "N", "currency")))


def _htx(raw: Raw) -> Facts:
    """Contracts: v1/v3 write charged fees as negative, and ccxt passes an order's on as it is. v5 (it has
    `created_time`) writes a fill's as positive, and ccxt flips it; what sign an order of v5 has is not
    documented.
    """
    if "created_time" in raw and "trade_fee" in raw:
        return Facts(fees=added([fee_of(decimal_of(raw.get("trade_fee")), raw.get("fee_currency"))]))
    if "created_time" in raw and "fee" in raw:
        return Facts(fees=())
    if "fee" in raw and "fee_asset" in raw:
        return Facts(fees=_negated(raw, "fee", raw.get("fee_asset")))
    return NO_FACTS


def _deribit(raw: Raw) -> Facts:
    """`commission` of an order is signed; ccxt takes the absolute value."""
    commission = decimal_of(raw.get("commission"))
    if commission is None or commission >= 0:
        return NO_FACTS
    return Facts(fees=added([fee_of(commission, None)]))


def first_text(raw: Raw, *names: str) -> str | None:
    """The first of these fields that holds text."""
    return next((text for text in (text_of(raw.get(name)) for name in names) if text is not None), None)


_BY_EXCHANGE: dict[str, Callable[[Raw], Facts]] = {
    "bingx": _bingx,
    "bitget": _bitget,
    "deribit": _deribit,
    "gate": _gate,
    "gateio": _gate,
    "htx": _htx,
    "huobi": _htx,
    "hyperliquid": _hyperliquid,
    "kraken": _kraken,
    "krakenfutures": _krakenfutures,
    "myokx": _okx,
    "okx": _okx,
    "okxus": _okx,
}
