"""A bot's day, step by step, all of it from one seed: what it sends, what goes wrong, and what others do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from random import Random
from typing import Any

from core.exchange_manager import ExchangeManager
from core.stop_loss_manager import StopLossManager
from simulated_exchange import (
    Delay,
    DropRequest,
    HttpPage,
    LoseAnswer,
    MalformedAnswer,
    Order,
    RateLimited,
    Refusal,
    Reject,
    SimulatedExchange,
)
from simulated_exchange.instruments import Instrument

from tests.days.truth import Truth

PERPETUALS = ("BTC/USDT:USDT", "ETH/USDT:USDT", "MNT/USDT:USDT", "1000000BABYDOGE/USDT:USDT", "PEPEX/USDT:USDT")
SPOT = ("MNT/USDT", "ETH/USDT")
HOUR_MS = 3_600_000
_LOST = (LoseAnswer, DropRequest, HttpPage, MalformedAnswer, Delay)


class Trader:
    """One bot with one or two clients. `scope(id)` is the trail's position scope; without a trail it does nothing."""

    def __init__(
        self,
        rng: Random,
        sim: SimulatedExchange,
        truth: Truth,
        manager: ExchangeManager,
        clients: list[Any],
        *,
        losing: bool,
        scope: Callable[[str, str], AbstractContextManager[Any]],
    ) -> None:
        self.rng, self.sim, self.truth = rng, sim, truth
        self.manager, self.clients, self.losing, self._scope = manager, clients, losing, scope
        self.stops = StopLossManager(manager.exchange, sim.kind)
        self.stops.max_tries = 2
        self.is_binance = sim.kind == "binance"
        self.done: Counter[str] = Counter()
        self.saw: list[str] = []  # what each call came to, for the comparison with a day without a trail
        self._used: set[Decimal] = set()
        self._named = 0
        symbols = list(PERPETUALS)
        rng.shuffle(symbols)
        self.symbols = symbols[: rng.choice([1, 2, 2, 3])]
        self.spot = rng.choice(SPOT) if not self.is_binance and rng.random() < 0.3 else None
        self.steps = self._steps()

    async def step(self) -> None:
        """One step of the day."""
        names, weights = zip(*((step, weight) for step, weight in self.steps), strict=True)
        (step,) = self.rng.choices(names, weights)
        self.done["steps"] += 1
        self.last = step.__name__
        await step()

    # -- sending

    @property
    def client(self) -> Any:
        return self.rng.choice(self.clients)

    async def send(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """One call of the bot, with or without something going wrong; None where it failed."""
        position = self.rng.choice([None, None, None, "7", "8"])
        self.truth.position = position
        fault = self._fault()
        try:
            with self._scope(position, "") if position else contextlib.nullcontext():
                if fault == "cancel":
                    result = await self._cancelled(call)
                elif isinstance(fault, Delay):
                    result = await self._too_late(call, fault)
                else:
                    if fault is not None:
                        self.sim.next("write", fault)
                    result = await call()
            self.saw.append(type(result).__name__)
            return result
        except Exception as problem:  # the bot's own affair; what it saw is compared with a day without a trail
            self.saw.append(f"{type(problem).__name__}")
            return None
        finally:
            if fault is not None and (fault == "cancel" or not self.sim.faults.waiting()):
                self.done["faults"] += 1
                if fault == "cancel" or isinstance(fault, _LOST):
                    self.done["lost answers"] += 1
            self.sim.faults.clear()
            await self._idle()
            self.truth.position = None

    def _fault(self) -> Any:
        if self.rng.random() >= (0.9 if self.losing else 0.2):
            return None
        lost = [
            LoseAnswer(),
            LoseAnswer(),
            LoseAnswer(headers_sent=True),
            DropRequest(),
            DropRequest(),
            HttpPage(502, taken=True),
            HttpPage(503, taken=False),
            HttpPage(504, taken=True),
            MalformedAnswer(),
        ]
        roll = self.rng.random()
        if roll < 0.08:
            return "cancel"
        if roll < 0.09:
            return Delay(0.12, before=self.rng.random() < 0.5)
        if roll < 0.15 and not self.losing:
            return RateLimited()
        if roll < 0.25 and not self.losing:
            return Reject(-2019, "Margin is insufficient.") if self.is_binance else Reject(110007, "ab not enough")
        return self.rng.choice(lost)

    async def _cancelled(self, call: Callable[[], Awaitable[Any]]) -> Any:
        hold = self.sim.hold("write", before=self.rng.random() < 0.5)
        task = asyncio.ensure_future(call())
        while not hold.reached.is_set() and not task.done():
            await asyncio.sleep(0.001)
        if hold.reached.is_set():
            task.cancel()
        hold.release()
        try:
            return await task
        except asyncio.CancelledError:
            raise RuntimeError("cancelled") from None

    async def _too_late(self, call: Callable[[], Awaitable[Any]], delay: Delay) -> Any:
        self.sim.next("write", delay)
        before = [client.timeout for client in self.clients]
        for client in self.clients:
            client.timeout = 60
        try:
            return await call()
        finally:
            for client, timeout in zip(self.clients, before, strict=True):
                client.timeout = timeout

    async def _idle(self) -> None:
        """Until the exchange is done with what it was sent."""
        while any(item.outcome == "open" for item in self.sim.requests):
            await asyncio.sleep(0.002)

    # -- what to send

    def item(self, symbol: str) -> Instrument:
        return self.sim.instrument(symbol)

    def symbol(self) -> str:
        return self.rng.choice(self.symbols)

    def side(self) -> str:
        return self.rng.choice(["buy", "sell"])

    def amount(self, symbol: str, most: float = 900.0) -> float:
        """A size that no other order of the day has, save one in forty."""
        item = self.item(symbol)
        steps = int(Decimal(self.rng.uniform(20, most)) / item.start_price / item.step) + 1
        quantity = item.step * steps
        while quantity in self._used and self.rng.random() >= 0.025:
            quantity += item.step
        self._used.add(quantity)
        return float(quantity)

    def near(self, symbol: str, percent: float) -> float:
        """A price so far from the market's."""
        item = self.item(symbol)
        price = self.sim.price(symbol) * (1 + Decimal(percent) / 100)
        return float(max(item.tick, price // item.tick * item.tick))

    def away(self, symbol: str, side: str) -> float:
        """A price at which an order of this side rests."""
        percent = self.rng.uniform(0.5, 8)
        return self.near(symbol, -percent if side == "buy" else percent)

    def named(self) -> dict[str, Any]:
        """Now and then a client id of the bot's own."""
        if self.rng.random() >= 0.25:
            return {}
        self._named += 1
        return {"clientOrderId": f"mine-{self._named}"}

    def held(self, symbol: str) -> Decimal:
        return self.sim.ledger.position(self.item(symbol)).quantity

    def with_position(self) -> str | None:
        open_ones = [symbol for symbol in self.symbols if self.held(symbol)]
        return self.rng.choice(open_ones) if open_ones else None

    def one_open(self, *kinds: str) -> Order | None:
        found = [order for order in self.sim.ledger.open_orders() if not kinds or order.kind in kinds]
        return self.rng.choice(found) if found else None

    # -- the steps

    def _steps(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        steps: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self.market, 14),
            (self.limit, 12),
            (self.crossing_limit, 4),
            (self.stop, 9),
            (self.trailing_stop, 4),
            (self.edit, 6),
            (self.cancel, 7),
            (self.cancel_what_is_over, 1.5),
            (self.cancel_all, 2),
            (self.batch, 4),
            (self.cancel_batch, 2),
            (self.implicit, 4),
            (self.by_manager, 8),
            (self.at_the_same_time, 2),
        ]
        if not self.is_binance:
            steps += [(self.trading_stop, 7), (self.entry_with_stops, 4)]
        if self.spot:
            steps += [(self.on_spot, 6)]
        others: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self.price_moves, 14),
            (self.part_is_filled, 5),
            (self.thin_book, 3),
            (self.by_hand, 4),
            (self.stop_by_hand, 1.5),
            (self.cancelled_by_hand, 1.5),
            (self.forced, 2),
            (self.funding, 2),
            (self.fee_is_corrected, 1.5),
            (self.expires, 1),
            (self.time_passes, 3),
            (self.indexed, 2),
        ]
        return steps + [(step, weight / 3 if self.losing else weight) for step, weight in others]

    async def market(self) -> None:
        symbol, side = self.symbol(), self.side()
        params = {**self.named()}
        held = self.held(symbol)
        if held and self.rng.random() < 0.3:
            params["reduceOnly"] = True
            side = "sell" if held > 0 else "buy"
        amount, client = self.amount(symbol), self.client
        await self.send(lambda: client.create_order(symbol, "market", side, amount, None, params))

    async def limit(self) -> None:
        symbol, side = self.symbol(), self.side()
        params, amount, price = self.named(), self.amount(symbol), self.away(symbol, side)
        if self.rng.random() < 0.15:
            params["postOnly"] = True
        client = self.client
        await self.send(lambda: client.create_order(symbol, "limit", side, amount, price, params))

    async def crossing_limit(self) -> None:
        symbol, side = self.symbol(), self.side()
        params, amount = self.named(), self.amount(symbol)
        price = self.near(symbol, 1 if side == "buy" else -1)
        if self.rng.random() < 0.5:
            params["timeInForce"] = self.rng.choice(["IOC", "FOK", "PO"])
        if self.rng.random() < 0.2:
            price = self.away(symbol, side)  # an IOC that finds nothing
        client = self.client
        await self.send(lambda: client.create_order(symbol, "limit", side, amount, price, params))

    async def stop(self) -> None:
        """A stop or a take-profit, at the market or with a limit, of a position or to enter."""
        symbol = self.with_position() or self.symbol()
        held = self.held(symbol)
        reduces = bool(held) and self.rng.random() < 0.85
        side = ("sell" if held > 0 else "buy") if reduces else self.side()
        profit = self.rng.random() < 0.35
        percent = self.rng.uniform(0.5, 6) * (-1 if (side == "sell") != profit else 1)
        trigger, kind = self.near(symbol, percent), "market"
        params: dict[str, Any] = {**self.named(), "reduceOnly": reduces}
        price = None
        if self.rng.random() < 0.25:
            kind, price = "limit", self.near(symbol, percent + (0.1 if side == "buy" else -0.1))
        spelled = self.rng.choice(["stopLossPrice", "takeProfitPrice", "triggerPrice", "triggerPrice"])
        if spelled == "triggerPrice":
            params["triggerPrice"] = trigger
            if not self.is_binance:
                params["triggerDirection"] = "ascending" if percent > 0 else "descending"
            elif profit:
                kind = "TAKE_PROFIT" if price else "TAKE_PROFIT_MARKET"
        else:
            params["takeProfitPrice" if profit else "stopLossPrice"] = trigger
        amount, client = self.amount(symbol), self.client
        await self.send(lambda: client.create_order(symbol, kind, side, amount, price, params))

    async def trailing_stop(self) -> None:
        symbol = self.with_position()
        if symbol is None:
            return
        side = "sell" if self.held(symbol) > 0 else "buy"
        params: dict[str, Any] = {"reduceOnly": True}
        target = self.near(symbol, 1 if side == "sell" else -1)
        if self.is_binance:
            params["trailingPercent"] = self.rng.choice([0.5, 1, 2])
            if self.rng.random() < 0.5:
                params["trailingTriggerPrice"] = target
        else:
            item = self.item(symbol)
            params["trailingAmount"] = str(self.sim.price(symbol) / 100 // item.tick * item.tick)
            if self.rng.random() < 0.5:
                params["trailingTriggerPrice"] = str(target)
        amount, client = self.amount(symbol), self.client
        await self.send(lambda: client.create_order(symbol, "market", side, amount, None, params))

    async def edit(self) -> None:
        order = self.one_open("order")
        if order is None or order.limit_price is None:
            return
        symbol = order.unified_symbol
        spread = 1 if order.side == "sell" else -1
        price = self.near(symbol, spread * self.rng.uniform(0.3, 6))
        if self.rng.random() < 0.1:
            price = self.near(symbol, -spread)  # it fills at once
        amount = self.amount(symbol) if self.rng.random() < 0.5 else float(order.quantity)
        client = self.client
        order_id, side = order.exchange_order_id, order.side
        await self.send(lambda: client.edit_order(order_id, symbol, "limit", side, amount, price))

    async def cancel(self) -> None:
        order = self.one_open()
        if order is not None:
            await self._cancel(order)

    async def cancel_what_is_over(self) -> None:
        over = [order for order in self.sim.ledger.orders if order.is_final and order.exchange_order_id]
        if over:
            await self._cancel(self.rng.choice(over))

    async def _cancel(self, order: Order) -> None:
        params: dict[str, Any] = {"trigger": True} if order.kind == "algo" else {}
        client, order_id, symbol = self.client, order.exchange_order_id, order.unified_symbol
        if order.kind == "order" and order.client_order_id.startswith("mine") and self.rng.random() < 0.3:
            params["clientOrderId" if self.is_binance else "orderLinkId"] = order.client_order_id
            order_id = None if not self.is_binance else ""
        await self.send(lambda: client.cancel_order(order_id, symbol, params))

    async def cancel_all(self) -> None:
        client, symbol = self.client, self.symbol()
        if self.is_binance:
            params = {"trigger": True} if self.rng.random() < 0.4 else {}
            await self.send(lambda: client.cancel_all_orders(symbol, params))
        elif self.rng.random() < 0.4:
            await self.send(lambda: client.cancel_all_orders())
        else:
            await self.send(lambda: client.cancel_all_orders(symbol))

    async def batch(self) -> None:
        orders = []
        symbol = self.symbol()
        for _ in range(self.rng.randint(1, 5)):
            if self.rng.random() < 0.3:
                symbol = self.symbol() if self.is_binance else symbol
            side = self.side()
            kind = self.rng.choice(["market", "limit", "limit"])
            amount = self.amount(symbol)
            if self.rng.random() < 0.15:
                amount = 2e15 + 1e6 * len(self._used)  # more than the exchange takes
            price = self.away(symbol, side) if kind == "limit" else None
            orders.append(
                {"symbol": symbol, "type": kind, "side": side, "amount": amount, "price": price, "params": self.named()}
            )
        client = self.client
        await self.send(lambda: client.create_orders(orders))

    async def cancel_batch(self) -> None:
        symbol = self.symbol()
        orders = [o for o in self.sim.ledger.orders if o.unified_symbol == symbol and o.kind == "order"]
        ids = [
            o.exchange_order_id for o in orders if o.exchange_order_id and (not o.is_final or self.rng.random() < 0.1)
        ]
        if ids:
            client, some = self.client, ids[-5:]
            await self.send(lambda: client.cancel_orders(some, symbol))

    async def implicit(self) -> None:
        """Past ccxt's unified methods, as bots do that know the exchange."""
        symbol, side = self.symbol(), self.side()
        item, client = self.item(symbol), self.client
        quantity = f"{Decimal(str(self.amount(symbol))):f}"
        price = f"{Decimal(str(self.away(symbol, side))):.{item.price_decimals}f}"
        is_limit = self.rng.random() < 0.5
        if self.is_binance:
            order = {"symbol": item.symbol, "side": side.upper(), "type": "LIMIT" if is_limit else "MARKET"}
            order |= {"quantity": quantity, **({"price": price, "timeInForce": "GTC"} if is_limit else {})}
            if self.rng.random() < 0.25:
                await self.send(lambda: client.fapiPrivatePostBatchOrders({"batchOrders": json.dumps([order])}))
            else:
                await self.send(lambda: client.fapiPrivatePostOrder(order))
        else:
            order = {"symbol": item.symbol, "side": side.capitalize(), "orderType": "Limit" if is_limit else "Market"}
            order |= {"qty": quantity, **({"price": price} if is_limit else {})}
            if self.rng.random() < 0.25:
                body = {"category": "linear", "request": [order]}
                await self.send(lambda: client.private_post_v5_order_create_batch(body))
            else:
                await self.send(lambda: client.privatePostV5OrderCreate({"category": "linear", **order}))

    async def by_manager(self) -> None:
        manager, symbol = self.manager, self.with_position() or self.symbol()
        held, name = self.held(symbol), self.item(symbol).symbol
        closing = "sell" if held > 0 else "buy"
        below = self.near(symbol, self.rng.uniform(1, 5) * (-1 if held > 0 else 1))
        above = self.near(symbol, self.rng.uniform(1, 5) * (1 if held > 0 else -1))
        size, side = self.amount(symbol), self.side()
        choices: list[Callable[[], Awaitable[Any]]] = [
            lambda: manager.create_market_order(name, side, size),
            lambda: manager.create_limit_order(name, side, size, self.away(symbol, side)),
        ]
        if held:
            choices += [
                lambda: manager.create_stop_loss_order(name, closing, size, below),
                lambda: manager.create_take_profit_order(name, closing, size, above),
                lambda: manager.create_trailing_stop_order(name, closing, size, above, 1),
                lambda: manager.update_stop_loss_atomic(name, below, "long" if held > 0 else "short"),
                lambda: manager.update_stop_loss_atomic(name, below, "long" if held > 0 else "short"),
                lambda: self.stops.set_stop_loss(name, closing, size, below),
                lambda: manager.close_position(name),
            ]
        await self.send(self.rng.choice(choices))

    async def at_the_same_time(self) -> None:
        """Two orders under way beside each other."""
        symbol = self.symbol()
        one, other = self.amount(symbol), self.amount(symbol)
        side, price = self.side(), self.away(symbol, "buy")
        client, second = self.clients[0], self.clients[-1]

        async def both() -> Any:
            ended = await asyncio.gather(
                client.create_order(symbol, "market", side, one),
                second.create_order(symbol, "limit", "buy", other, price),
                return_exceptions=True,
            )
            return [type(one).__name__ for one in ended]

        # which of them comes first, and so meets a fault, is for the operating system to say
        losing, self.losing, rng = self.losing, False, self.rng
        fault = self._fault
        self._fault = lambda: None  # type: ignore[method-assign]
        try:
            await self.send(both)
        finally:
            self._fault, self.losing, self.rng = fault, losing, rng  # type: ignore[method-assign]

    async def trading_stop(self) -> None:
        """Bybit: set, move or take off the stops of a position."""
        symbol = self.with_position()
        if symbol is None:
            if self.rng.random() < 0.8:
                return
            symbol = self.symbol()  # refused
        item, sign = self.item(symbol), 1 if self.held(symbol) > 0 else -1
        params: dict[str, Any] = {"category": "linear", "symbol": item.symbol, "positionIdx": 0}

        def text(percent: float) -> str:
            return f"{Decimal(str(self.near(symbol, percent))):.{item.price_decimals}f}"

        roll = self.rng.random()
        if roll < 0.45:
            params["stopLoss"] = text(-sign * self.rng.uniform(1, 6))
        elif roll < 0.6:
            params["takeProfit"] = text(sign * self.rng.uniform(1, 6))
        elif roll < 0.7:
            params["stopLoss"] = text(-sign * self.rng.uniform(1, 6))
            params["takeProfit"] = text(sign * self.rng.uniform(1, 6))
        elif roll < 0.8:
            distance = self.sim.price(symbol) / 100 // item.tick * item.tick
            params["trailingStop"] = f"{distance:f}"
        elif roll < 0.9:
            params[self.rng.choice(["stopLoss", "takeProfit"])] = "0"
        else:
            params |= {"tpslMode": "Partial", "stopLoss": text(-sign * 3)}
            params["slSize"] = f"{max(item.step, abs(self.held(symbol)) / 3 // item.step * item.step):f}"
        params.setdefault("tpslMode", "Full")
        client = self.client
        await self.send(lambda: client.private_post_v5_position_trading_stop(params))

    async def entry_with_stops(self) -> None:
        """Bybit: stops that travel with the entry."""
        symbol, side = self.symbol(), self.side()
        sign = 1 if side == "buy" else -1
        params: dict[str, Any] = {**self.named()}
        params["stopLoss"] = {"triggerPrice": self.near(symbol, -sign * self.rng.uniform(9, 12))}
        if self.rng.random() < 0.5:
            params["takeProfit"] = {"triggerPrice": self.near(symbol, sign * self.rng.uniform(9, 12))}
        kind = self.rng.choice(["market", "limit"])
        amount, client = self.amount(symbol), self.client
        price = self.away(symbol, side) if kind == "limit" else None
        await self.send(lambda: client.create_order(symbol, kind, side, amount, price, params))

    async def on_spot(self) -> None:
        symbol, client = self.spot or "", self.client
        side, kind = self.side(), self.rng.choice(["market", "limit"])
        amount = self.amount(symbol, 300)
        price: float | None = self.away(symbol, side)
        if kind == "market":
            price = float(self.sim.price(symbol)) if side == "buy" else None
        await self.send(lambda: client.create_order(symbol, kind, side, amount, price))

    # -- what others do

    async def price_moves(self) -> None:
        symbol = self.rng.choice([*self.symbols, self.spot]) if self.spot else self.symbol()
        item = self.item(symbol)
        percent = self.rng.choice([0.3, 1, 1, 3, 6]) * self.rng.choice([-1, 1])
        price = self.sim.price(symbol) * (1 + Decimal(str(percent)) / 100)
        price = min(max(price, item.start_price / 2), item.start_price * 2)
        self.sim.set_price(symbol, price // item.tick * item.tick)

    async def part_is_filled(self) -> None:
        order = self.one_open("order")
        if order is None:
            return
        step, rest = order.instrument.step, order.remaining_quantity
        if order.reduce_only and self.sim.engine.reducible(order) < rest:
            return
        part = rest if self.rng.random() < 0.4 else max(step, rest * Decimal("0.3") // step * step)
        self.sim.complete(order.exchange_order_id or "", order.unified_symbol, part)

    async def thin_book(self) -> None:
        self.sim.partial_fill(self.rng.choice(["0.3", "0.5", "0.01"]), self.rng.choice(["rest", "expire"]))

    async def by_hand(self) -> None:
        symbol, side = self.symbol(), self.side()
        quantity = Decimal(str(self.amount(symbol)))
        extra: dict[str, Any] = {}
        roll = self.rng.random()
        if roll < 0.3:
            extra = {"type": "limit", "price": Decimal(str(self.away(symbol, side)))}
        elif roll < 0.5:
            extra = {"trigger_price": Decimal(str(self.away(symbol, side)))}
        with contextlib.suppress(Refusal):
            self.sim.trade_by_hand(symbol, side, quantity, **extra)

    async def stop_by_hand(self) -> None:
        symbol = self.with_position()
        if symbol is None:
            return
        sign = 1 if self.held(symbol) > 0 else -1
        with contextlib.suppress(Refusal):
            self.sim.stop_by_hand(symbol, stop_loss=Decimal(str(self.near(symbol, -sign * self.rng.uniform(2, 7)))))

    async def cancelled_by_hand(self) -> None:
        order = self.one_open()
        if order is not None and (order.kind == "order" or order.is_armed):
            self.sim.cancel_by_hand(order.exchange_order_id or "", order.unified_symbol)

    async def forced(self) -> None:
        symbol = self.with_position()
        if symbol is None:
            return
        roll, step = self.rng.random(), self.item(symbol).step
        if roll < 0.3:
            self.sim.liquidate(symbol)
        elif roll < 0.6 and abs(self.held(symbol)) >= 2 * step:
            self.sim.liquidate(symbol, "0.5")
        elif roll < 0.9:
            self.sim.deleverage(symbol, max(step, abs(self.held(symbol)) / 4 // step * step))
        else:
            self.sim.settle(symbol)
        self.done["forced"] += 1

    async def funding(self) -> None:
        symbol = self.with_position()
        if symbol is not None:
            self.sim.fund(symbol, self.rng.choice(["0.0001", "-0.00025"]))

    async def fee_is_corrected(self) -> None:
        if self.sim.ledger.fills:
            fill = self.rng.choice(self.sim.ledger.fills)
            amount = (fill.fee_amount * Decimal("1.1")).quantize(Decimal("1e-8"))
            self.sim.correct_fee(fill.exchange_trade_id, fill.unified_symbol, amount)

    async def expires(self) -> None:
        order = self.one_open()
        if order is not None and (order.kind == "order" or order.is_armed):
            self.sim.expire(order.exchange_order_id or "", order.unified_symbol)

    async def time_passes(self) -> None:
        self.sim.index_now()  # what is not shown after minutes is taken for absent, and rightly so
        self.sim.advance(int(self.rng.choice([5_000, 60_000, 600_000, HOUR_MS, 3 * HOUR_MS]) * self.rng.random()) + 1)

    async def indexed(self) -> None:
        self.sim.index_now()
