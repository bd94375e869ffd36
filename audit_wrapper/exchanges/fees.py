"""Fees: what was charged, in which currency, and how sure that is.

An amount is positive when charged and negative for a rebate. Amounts of one currency are added up exactly;
amounts of different currencies never. A fee whose amount is not known is no fee: an empty tuple says "not
said".
"""

from collections.abc import Iterable
from decimal import Decimal

from audit_wrapper.exchanges.evidence import Evidence
from audit_wrapper.exchanges.numbers import Raw, decimal_of, items, plain, product, text_of, total
from audit_wrapper.records import Fee, FeeStatus, Fill, Market

NOT_SAID = Fee()


def fee_of(amount: Decimal | None, currency: object, rate: object = None) -> Fee | None:
    """A fee the exchange named. With an amount but no currency it is kept, as one that is not fully known."""
    if amount is None:
        return None
    name = text_of(currency)
    status = FeeStatus.MISSING if name is None else FeeStatus.REPORTED
    return Fee(amount=amount, currency=name, rate=decimal_of(rate), status=status)


def added(fees: Iterable[Fee | None]) -> tuple[Fee, ...]:
    """One fee per currency. Zeros beside real amounts (Gate `gt_fee: "0"`) are left out."""
    groups: dict[str | None, list[Fee]] = {}
    for fee in fees:
        if fee is not None and fee.amount is not None:
            groups.setdefault(fee.currency, []).append(fee)
    if any(fee.amount for group in groups.values() for fee in group):
        groups = {name: group for name, group in groups.items() if any(fee.amount for fee in group)}
    else:
        groups = dict(list(groups.items())[:1])
    return tuple(
        Fee(
            amount=total([fee.amount for fee in group if fee.amount is not None]),
            currency=name,
            rate=group[0].rate if len({fee.rate for fee in group}) == 1 else None,
            status=FeeStatus.DERIVED if any(fee.status is FeeStatus.DERIVED for fee in group) else group[0].status,
        )
        for name, group in groups.items()
    )


def unified_fees(ccxt: Raw, evidence: Evidence) -> tuple[Fee, ...]:
    """`fees` (several) or `fee` (one) of a ccxt order or trade.

    ccxt facts: `fee.cost` is often text while the same `fees[0].cost` is a float, so text wins; Gate sets
    `fee` to None when there are several; Coinbase and HashKey over WebSocket write `amount` for `cost`.
    """
    several = [entry for entry in map(plain, items(ccxt.get("fees"))) if _cost(entry) is not None]
    one = plain(ccxt.get("fee"))
    if len(several) < 2 and _cost(one) is not None and (not several or isinstance(_cost(one), str)):
        several = [one]
    return added(fee_of(evidence.digits(_cost(entry)), entry.get("currency"), entry.get("rate")) for entry in several)


def derived_fee(
    price: Decimal | None, quantity: Decimal | None, rate: Decimal | None, currency: str | None, market: Market | None
) -> Fee | None:
    """The fee that follows exactly from a rate the exchange named with the execution; a negative rate is a rebate.

    Spot: a share of what was paid (quote) or of what was bought (base). Linear contracts: of the value, and only with
    the contract's size known. Inverse contracts would need a division, which need not come out even: not derived.
    """
    if price is None or quantity is None or rate is None or currency is None or market is None:
        return None
    if market.type == "spot" and currency in (market.base, market.quote):
        factors = [quantity, rate] if currency == market.base else [price, quantity, rate]
    elif market.type in ("swap", "future") and market.settle == market.quote == currency and market.contract_size:
        factors = [price, quantity, market.contract_size, rate]
    else:
        return None
    amount = product(factors)
    return None if amount is None else Fee(amount=amount, currency=currency, rate=rate, status=FeeStatus.DERIVED)


def unified_rate(ccxt: Raw, evidence: Evidence, market: Market | None) -> tuple[Decimal | None, str | None]:
    """The one rate, and its currency, that a ccxt trade names without an amount, if the payload names that rate."""
    entries = [entry for entry in map(plain, [ccxt.get("fee"), *items(ccxt.get("fees"))]) if entry]
    rates = {(decimal_of(entry.get("rate")), text_of(entry.get("currency"))) for entry in entries}
    if len(rates) != 1 or any(_cost(entry) is not None for entry in entries):
        return None, None
    ((rate, currency),) = rates
    if rate is None or not evidence.of_rate(rate):
        return None, None
    return rate, currency or (market.settle if market is not None else None)


def _cost(entry: Raw) -> object:
    cost = entry.get("cost")
    return entry.get("amount") if cost is None else cost


def one_fee(fees: tuple[Fee, ...]) -> Fee:
    """The fee of a single fill. Charged in two currencies at once (Gate: coin and points), it has no one amount."""
    if not fees:
        return NOT_SAID
    return fees[0] if len(fees) == 1 else Fee(status=FeeStatus.SEVERAL)


def fees_of_fills(fills: tuple[Fill, ...]) -> tuple[Fee, ...]:
    """What the fills sum up to; () as soon as one fill does not say, for then the sum would be too small."""
    if any(fill.fee.amount is None for fill in fills):
        return ()
    return added(fill.fee for fill in fills)


def settled_in(market: Market | None, side: str | None, amount: Decimal | None) -> str | None:
    """The currency a fee is charged in where the exchange does not name it, by Bybit's published rule.

    Contracts: the settlement currency. Spot: what one receives (base on buy, quote on sell), the other way
    round for a rebate. Without a market nothing can be said.
    """
    if market is None:
        return None
    if market.type == "spot":
        if side is None or not amount:
            return None
        return market.base if (side == "buy") == (amount > 0) else market.quote
    return market.settle
