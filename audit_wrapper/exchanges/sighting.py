"""One order as the exchange shows it, asked or unasked: in a listing, a history, a message of its stream."""

from typing import Literal

import msgspec

from audit_wrapper.records import Fill, OrderState


class Sighting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One order seen at the exchange.

    `state` holds little more than the ids where only executions are shown; its `fills` are empty. `id_kind`: the number
    space of its id. `child_order_id`: the regular order that a conditional order of Binance became when it fired.
    `attached`: a stop of a position, and which (Bybit). `fills`: executions of this order that are shown with it, not
    necessarily all it had.
    """

    state: OrderState
    id_kind: Literal["order", "algo"] = "order"
    child_order_id: str | None = None
    attached: Literal["stop_loss", "take_profit", "trailing"] | None = None
    fills: tuple[Fill, ...] = ()
