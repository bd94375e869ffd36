"""What happens on the account without the bot: orders by hand, liquidation, auto-deleveraging, funding, fee corrections."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from .engine import Engine, rounded
from .instruments import Instrument
from .ledger import Cause, Fill, Funding, Order


def place_by_hand(engine: Engine, wanted: Order) -> Order:
    """Place an order as a person does in the exchange's app; `details["by"]` is "hand" in the ledger.

    wanted: instrument, side, quantity, prices, client_order_id ("" lets the app choose) and reduce_only count.
    Raises `Refusal` as the exchange would.
    """
    order = engine.place_by_hand(wanted)
    order.details["by"] = "hand"
    if order.actual_order_id:
        engine.ledger.executed(order).details["by"] = "hand"
    return order


def stop_by_hand(engine: Engine, item: Instrument, prices: dict[str, Decimal]) -> list[Order]:
    """Guard a whole position as a person does in the app; prices by "stopLoss" and "takeProfit".

    Returns the orders that were made. Raises `Refusal` as the exchange would.
    """
    before = len(engine.ledger.orders)
    engine.stop_by_hand(item, prices)
    made = engine.ledger.orders[before:]
    for order in made:
        order.details["by"] = "hand"
    return made


def close_by_force(engine: Engine, item: Instrument, quantity: Decimal, cause: Cause) -> Order:
    """Close a position, or a part of it, with an order that the exchange makes itself.

    quantity: how much to close, in coins. Raises ValueError for more than there is, or for nothing.
    """
    held = engine.ledger.position(item).quantity
    if not 0 < quantity <= abs(held):
        raise ValueError(f"cannot close {quantity} of a position of {held} {item.symbol}")
    wanted = Order(instrument=item, side="sell" if held > 0 else "buy", type="", quantity=quantity)
    order = engine.forced_order(wanted, cause)
    order.details["cause"] = cause
    engine.add(order)
    for price, part in list(engine.taker_prices(order, quantity)):
        engine.fill(order, price, part, "taker")
    return order


def fund(engine: Engine, item: Instrument, rate: Decimal) -> Funding:
    """One funding payment on the open position: with a positive rate a long pays and a short is paid.

    Amounts have eight digits. Raises ValueError when there is no position.
    """
    position = engine.ledger.position(item)
    if not position.quantity:
        raise ValueError(f"no position in {item.symbol} to fund")
    mark = engine.prices[item]
    funding = Funding(
        exchange_funding_id=engine.new_funding_id(),
        instrument=item,
        amount=rounded(-position.quantity * mark * rate, 8),
        currency=item.quote,
        rate=rate,
        quantity=position.quantity,
        mark_price=mark,
        time=engine.now(),
    )
    engine.ledger.fundings.append(funding)
    engine.pay(funding.currency, funding.amount)
    engine.messages.extend([engine.funding_message(funding)])
    return funding


def correct_fee(engine: Engine, item: Instrument, trade_id: str, amount: Decimal, currency: str | None) -> Fill:
    """Change the fee of a fill after the fact, in the books and in all that reads show from now on.

    currency: None keeps it. The stream says nothing of it. Raises KeyError for an unknown fill.
    """
    fills = engine.ledger.fills
    for number, fill in enumerate(fills):
        if fill.exchange_trade_id == str(trade_id) and fill.instrument == item:
            corrected = dataclasses.replace(fill, fee_amount=amount, fee_currency=currency or fill.fee_currency)
            engine.pay(fill.fee_currency, fill.fee_amount)
            engine.pay(corrected.fee_currency, -amount)
            fills[number] = corrected
            engine.unsettled.discard((item, fill.exchange_trade_id))
            return corrected
    raise KeyError(f"no fill {trade_id!r} of {item.symbol} in the ledger")
