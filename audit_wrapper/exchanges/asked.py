"""What a request asks of the exchange, read from the request itself: what was really sent, not what was meant."""

from decimal import Decimal
from typing import Literal

import msgspec

from audit_wrapper.records import Action, OrderState


class Stop(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A stop attached to a position or to an order. `removed`: it is taken away (Bybit writes a price of 0).

    `size` is set where it covers only part of the position. A trailing stop has a `distance`, and a trigger
    price only where one activates it.
    """

    kind: Literal["stop_loss", "take_profit", "trailing"]
    trigger_price: Decimal | None = None
    removed: bool = False
    size: Decimal | None = None
    limit_price: Decimal | None = None
    distance: Decimal | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One request. `state` is the order as sent; for a cancel or an amendment it names the target.

    `id_kind` says which number space the ids are of ("algo": Binance conditional orders). `conditional`, for
    a cancel of all orders: True only conditional ones, False only regular ones, None both. `parts`: a request
    that speaks of several orders (a batch; Binance cancelReplace: a cancel and a place) has one entry for
    each, and then `state` holds only what is common to all.
    """

    action: Action
    state: OrderState = OrderState()
    id_kind: Literal["order", "algo"] = "order"
    stops: tuple[Stop, ...] = ()
    position_index: int | None = None
    conditional: bool | None = None
    parts: tuple["Asked", ...] = ()
