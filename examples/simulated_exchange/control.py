"""The control API: what `SimulatedExchange` offers to its own process, over HTTP for another one.

All are POST with a JSON object, save the two reads. Amounts and prices are text, so that no digit is lost.

    /_control/set_price      {"symbol", "price"}
    /_control/set_balance    {"coin", "amount"}
    /_control/settings       any fields of `settings.Settings`
    /_control/partial_fill   {"fraction", "remainder"?}
    /_control/complete       {"order_id", "symbol"?, "quantity"?}
    /_control/expire         {"order_id", "symbol"?}
    /_control/advance        {"milliseconds"}
    /_control/stop_clock, start_clock, index_now, settle_fees   {}
    /_control/trade_by_hand  {"symbol", "side", "quantity", "type"?, "price"?, "trigger_price"?, "client_order_id"?,
                              "reduce_only"?}              -> {"order_id", "client_order_id"}
    /_control/cancel_by_hand {"order_id", "symbol"?}
    /_control/liquidate      {"symbol", "fraction"?}       -> {"order_id", "client_order_id"}
    /_control/deleverage     {"symbol", "quantity"}        -> {"order_id", "client_order_id"}
    /_control/settle         {"symbol"}                    -> {"order_id", "client_order_id"}
    /_control/stop_by_hand   {"symbol", "stop_loss"?, "take_profit"?}   -> {"orders": [{"order_id", ...}]}
    /_control/now            {}                            -> {"now": 1700000000000}
    /_control/fund           {"symbol", "rate"}            -> {"funding_id", "amount"}
    /_control/correct_fee    {"trade_id", "symbol", "amount", "currency"?}
    /_control/messages       {"since"?}                    -> {"messages": [...]}
    /_control/next           {"on", "fault", "times"?, ...the fault's fields}; names in `faults.fault_from`
    /_control/hold           {"on", "before"?}             -> {"hold": 1}
    /_control/reached        {"hold", "timeout"?}          -> {"reached": true}
    /_control/release        {"hold"}
    /_control/shutdown       {}
    GET /_control/ledger     `Ledger.as_json()`
    GET /_control/requests   the request log
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .engine import Refusal
from .faults import fault_from
from .settings import Settings

if TYPE_CHECKING:
    from .ledger import Order
    from .server import SimulatedExchange

_Body = dict[str, Any]


def add_control_routes(application: web.Application, sim: SimulatedExchange) -> None:
    """Put the control API in front of the exchange's own routes."""

    def ids(order: Order) -> _Body:
        return {"order_id": order.exchange_order_id, "client_order_id": order.client_order_id}

    def fund(body: _Body) -> _Body:
        funding = sim.fund(**body)
        return {"funding_id": funding.exchange_funding_id, "amount": str(funding.amount)}

    def correct_fee(body: _Body) -> None:
        sim.correct_fee(**body)

    def settings(body: _Body) -> None:
        types = {item.name: type(getattr(sim.settings, item.name)) for item in dataclasses.fields(Settings)}
        for name, value in body.items():
            kind = int if types[name] is type(None) and value is not None else types[name]
            # Through the exchange, not its settings: some do more than keep the value.
            setattr(sim, name, value if value is None else kind(value))

    def hold(body: _Body) -> _Body:
        number = len(sim.holds) + 1
        sim.holds[number] = sim.hold(**body)
        return {"hold": number}

    def next_fault(body: _Body) -> None:
        on, name, times = body.pop("on"), body.pop("fault"), body.pop("times", 1)
        sim.next(on, fault_from(name, body), times)

    commands: dict[str, Callable[[_Body], _Body | None]] = {
        "set_price": lambda body: sim.set_price(**body),
        "set_balance": lambda body: sim.set_balance(**body),
        "settings": settings,
        "partial_fill": lambda body: sim.partial_fill(**body),
        "complete": lambda body: sim.complete(**body),
        "expire": lambda body: sim.expire(**body),
        "advance": lambda body: sim.advance(**body),
        "stop_clock": lambda body: sim.stop_clock(),
        "start_clock": lambda body: sim.start_clock(),
        "index_now": lambda body: sim.index_now(),
        "settle_fees": lambda body: sim.settle_fees(),
        "trade_by_hand": lambda body: ids(sim.trade_by_hand(**body)),
        "cancel_by_hand": lambda body: sim.cancel_by_hand(**body),
        "liquidate": lambda body: ids(sim.liquidate(**body)),
        "deleverage": lambda body: ids(sim.deleverage(**body)),
        "settle": lambda body: ids(sim.settle(**body)),
        "stop_by_hand": lambda body: {"orders": [ids(order) for order in sim.stop_by_hand(**body)]},
        "now": lambda body: {"now": sim.now()},
        "fund": fund,
        "correct_fee": correct_fee,
        "messages": lambda body: {"messages": sim.messages(**body)},
        "next": next_fault,
        "hold": hold,
        "release": lambda body: sim.holds[body["hold"]].release(),
        "shutdown": lambda body: sim.stopping.set(),
    }

    async def command(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = json.loads(await request.text() or "{}")
        try:
            if name == "reached":
                return web.json_response(await reached(body))
            return web.json_response(commands[name](body) or {})
        except (KeyError, TypeError, ValueError, ArithmeticError, Refusal) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    async def reached(body: _Body) -> _Body:
        wait = sim.holds[body["hold"]].reached.wait
        return {"reached": await asyncio.to_thread(wait, float(body.get("timeout", 5)))}

    async def ledger(request: web.Request) -> web.Response:
        with sim.engine.books():
            return web.json_response(sim.ledger.as_json())

    async def requests(request: web.Request) -> web.Response:
        rows = [{**dataclasses.asdict(item), "is_write": item.is_write} for item in sim.requests]
        # A JSON body's numbers are kept as Decimal in the log.
        return web.json_response(rows, dumps=lambda value: json.dumps(value, default=str))

    application.router.add_get("/_control/ledger", ledger)
    application.router.add_get("/_control/requests", requests)
    application.router.add_post("/_control/{name}", command)
