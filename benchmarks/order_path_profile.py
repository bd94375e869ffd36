"""Where the time of one order call goes: a bare bot and ours, in turns, in one process; or a profile of ours.

    python benchmarks/order_path_profile.py                  medians and tails, in microseconds
    python benchmarks/order_path_profile.py --calls 20000
    python benchmarks/order_path_profile.py --profile        cProfile, by time spent in a function itself
    python benchmarks/order_path_profile.py --before PATH    the package in PATH (another checkout) too, in a process in turns

The client is a stub shaped as ccxt's are: `create_market_order` calls `create_order`, that `request`, that `fetch`, which
answers at once with an answer of Binance. Manager, client and transport are observed; the journal is on disk. There is no
database and no delivery: this is the order path alone.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ANSWER = (
    '{"orderId":8389765500000000001,"symbol":"BTCUSDT","status":"FILLED","clientOrderId":"x-xcKtGhcu0f1e2d3c4b5a6978695a4b",'
    '"price":"0.00","avgPrice":"60000.20400","origQty":"0.050","executedQty":"0.050","cumQty":"0.050","cumQuote":"3000.01020",'
    '"timeInForce":"GTC","type":"MARKET","reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH",'
    '"stopPrice":"0.00","workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"MARKET","priceMatch":"NONE",'
    '"selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"updateTime":1764000000000}'
)
MARKET = {
    "symbol": "BTC/USDT:USDT", "id": "BTCUSDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap",
    "contract": True, "contractSize": 1.0,
}  # fmt: skip
INFO = json.loads(ANSWER)
ORDER = {
    "info": INFO, "id": "8389765500000000001", "clientOrderId": INFO["clientOrderId"], "timestamp": 1764000000000,
    "datetime": "2025-11-24T16:00:00.000Z", "lastTradeTimestamp": None, "lastUpdateTimestamp": 1764000000000,
    "symbol": "BTC/USDT:USDT", "type": "market", "timeInForce": "GTC", "postOnly": False, "reduceOnly": False,
    "side": "buy", "price": 60000.204, "triggerPrice": None, "amount": 0.05, "cost": 3000.0102, "average": 60000.204,
    "filled": 0.05, "remaining": 0.0, "status": "closed", "fee": None, "trades": [], "fees": [], "stopPrice": None,
    "takeProfitPrice": None, "stopLossPrice": None,
}  # fmt: skip
URL = "https://fapi.binance.com/fapi/v1/order"
BODY = (
    "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.05&newOrderRespType=RESULT&newClientOrderId="
    "x-xcKtGhcu0f1e2d3c4b5a6978695a4b&timestamp=1764000000000&recvWindow=10000&signature=" + "ab" * 32
)


class Client:
    """Named as one of ccxt's below, since that is how its kind is known."""

    id = "binanceusdm"
    apiKey = "k" * 64
    secret = "s" * 64

    def __init__(self) -> None:
        self.markets = {MARKET["symbol"]: MARKET}
        self.markets_by_id = {MARKET["id"]: [MARKET]}
        self.options = {"defaultType": "future"}
        self.apiKey, self.secret = "k" * 64, "s" * 64

    async def create_market_order(
        self, symbol: str, side: str, amount: Any, price: Any = None, params: Any = None
    ) -> Any:
        return await self.create_order(symbol, "market", side, amount, price, params)

    async def create_order(
        self, symbol: str, type: str, side: str, amount: Any, price: Any = None, params: Any = None
    ) -> Any:
        request = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "MARKET",
            "quantity": str(amount),
            "newOrderRespType": "RESULT",
        }
        await self.request("order", "fapiPrivate", "POST", {**request, **(params or {})})
        return dict(ORDER)

    async def cancel_order(self, id: str, symbol: str | None = None, params: Any = None) -> Any:
        return dict(ORDER)

    async def request(
        self, path: str, api: str = "public", method: str = "GET", params: Any = None, headers: Any = None, body: Any = None,
        config: Any = None,
    ) -> Any:  # fmt: skip
        return await self.fetch(URL, method, {"X-MBX-APIKEY": self.apiKey}, BODY)

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        self.on_rest_response(200, "OK", url, method, {}, ANSWER, headers, body)
        return INFO

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, response_headers: Any, response_body: str,
        request_headers: Any, request_body: Any,
    ) -> str:  # fmt: skip
        return response_body.strip()


Client.__module__ = "ccxt.async_support.stub"


class Manager:
    """A manager as bots of this shape have it."""

    def __init__(self, client: Client) -> None:
        self.name = "binance"
        self.exchange = client

    async def create_market_order(self, symbol: str, side: str, amount: Any, params: Any = None) -> Any:
        order = await self.exchange.create_market_order("BTC/USDT:USDT", side, amount, params=dict(params or {}))
        return {"id": order["id"], "symbol": symbol, "side": side, "amount": amount, "status": order["status"]}


def pair(folder: Path) -> tuple[Manager, Any, Callable[[], None]]:
    """A bare manager, an observed one, and how to end."""
    from audit_wrapper.failures import Failures
    from audit_wrapper.journal import FileJournal
    from audit_wrapper.recorder import Recorder
    from audit_wrapper.wrapping import Wrapping

    journal = FileJournal.open(folder)
    failures = Failures()
    recorder = Recorder(journal, account="default", failures=failures)
    ours = Wrapping(recorder, failures).wrap(Manager(Client()))

    def end() -> None:
        assert not failures.counts, failures.counts
        journal.close()

    return Manager(Client()), ours, end


async def timed(call: Callable[..., Awaitable[Any]], manager: Any, calls: int) -> list[int]:
    taken = []
    for _ in range(calls):
        began = time.perf_counter_ns()
        await call(manager)
        taken.append(time.perf_counter_ns() - began)
    return taken


async def order(manager: Any) -> Any:
    return await manager.create_market_order("BTCUSDT", "buy", 0.05)


async def measure(calls: int, rounds: int) -> dict[str, list[float]]:
    """Nanoseconds of each call, in turns of `calls / rounds`. Beside them what no journal goes below: the bytes of one order's
    three records appended, and the same handed to the system by `write` alone."""
    from audit_wrapper.journal import FileJournal

    found: dict[str, list[float]] = {"bare": [], "ours": [], "append": [], "write": []}
    with tempfile.TemporaryDirectory() as folder:
        bare, ours, end = pair(Path(folder) / "ours")
        await timed(order, bare, 300)
        await timed(order, ours, 300)
        journal = FileJournal.open(Path(folder) / "floor")
        payloads = [b"x" * size for size in (956, 2859, 700)]
        plain = os.open(Path(folder) / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        async def append(_: Any) -> None:
            for payload in payloads:
                journal.append(payload, force=False)

        async def write(_: Any) -> None:
            for payload in payloads:
                os.write(plain, payload)

        for _ in range(rounds):
            for name, call, manager in (
                ("bare", order, bare), ("ours", order, ours), ("append", append, None), ("write", write, None)
            ):  # fmt: skip
                found[name] += await timed(call, manager, calls // rounds)
        journal.close()
        os.close(plain)
        end()
    return found


def quantiles(taken: list[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the worst, in microseconds."""
    ranked = sorted(taken)
    at = lambda share: ranked[min(len(ranked) - 1, int(len(ranked) * share))] / 1e3  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999), "worst": ranked[-1] / 1e3}


def told(name: str, found: dict[str, float]) -> None:
    print(f"{name:<22}" + "".join(f"{value:>11.1f}" for value in found.values()))


def profiled(calls: int) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            _, ours, end = pair(Path(folder))
            await timed(order, ours, 300)
            profile = cProfile.Profile()
            profile.enable()
            await timed(order, ours, calls)
            profile.disable()
            end()
            pstats.Stats(profile).sort_stats("tottime").print_stats(60)

    asyncio.run(run())


def once(path: str, calls: int) -> dict[str, dict[str, float]]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, __file__, "--json", "--calls", str(calls)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--before")
    given = parser.parse_args()
    if given.profile:
        profiled(given.calls)
        return
    if given.before:
        here = str(Path(__file__).resolve().parents[1])
        runs: dict[str, list[dict[str, dict[str, float]]]] = {"before": [], "after": []}
        for _ in range(5):
            runs["before"].append(once(given.before, given.calls))
            runs["after"].append(once(here, given.calls))
        print(f"{'median of 5, in us':<22}{'p50':>11}{'p99':>11}{'p99.9':>11}{'worst':>11}   load {os.getloadavg()}")
        for name, several in runs.items():
            for which in several[0]:
                told(
                    f"{name} {which}",
                    {k: statistics.median(one[which][k] for one in several) for k in several[0][which]},
                )
        return
    gc.collect()
    found = asyncio.run(measure(given.calls, 20))
    shown = {name: quantiles(taken) for name, taken in found.items()}
    shown["added"] = {name: shown["ours"][name] - shown["bare"][name] for name in shown["ours"]}
    if given.json:
        print(json.dumps(shown))
        return
    print(f"{'in us':<22}{'p50':>11}{'p99':>11}{'p99.9':>11}{'worst':>11}   load {os.getloadavg()}")
    for name, values in shown.items():
        told(name, values)


if __name__ == "__main__":
    main()
