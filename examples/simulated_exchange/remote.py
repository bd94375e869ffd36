"""Drive a simulated exchange that runs in another process, with the names `SimulatedExchange` uses."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self


class RemoteExchange:
    """A handle on a running process; `RemoteExchange.spawn("bybit")` also starts it.

    Its ledger lives as long as that process: kill the bot, not the exchange. Used as a context manager it is
    shut down at the end.
    """

    def __init__(self, kind: str, url: str, process: subprocess.Popen[str] | None = None) -> None:
        self.kind = kind
        self.url = url
        self.process = process

    @classmethod
    def spawn(cls, kind: str, start_time_ms: int | None = None) -> RemoteExchange:
        """Start `python -m simulated_exchange kind` and wait for its ready line."""
        start = [] if start_time_ms is None else ["--start-time-ms", str(start_time_ms)]
        process = subprocess.Popen(
            [sys.executable, "-m", "simulated_exchange", kind, "--exit-with-parent", *start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        return cls(kind, ready["url"], process)

    def call(self, command: str, **values: Any) -> Any:
        """POST /_control/`command`. Decimals travel as text."""
        body = json.dumps(values, default=str).encode()
        return self._open(urllib.request.Request(f"{self.url}/_control/{command}", data=body))

    def set_price(self, symbol: str, price: Decimal | str) -> None:
        self.call("set_price", symbol=symbol, price=price)

    def settings(self, **values: Any) -> None:
        """Change fields of `settings.Settings`: split_fills, fee_currency, maker_rate ..."""
        self.call("settings", **values)

    def partial_fill(self, fraction: Decimal | str, remainder: str = "rest") -> None:
        self.call("partial_fill", fraction=str(fraction), remainder=remainder)

    def complete(self, order_id: str, **values: Any) -> None:
        self.call("complete", order_id=order_id, **values)

    def next(self, on: str, fault: str, **fields: Any) -> None:
        """For example `next("create", "reject", code=-2019, words="Margin is insufficient.")`."""
        self.call("next", on=on, fault=fault, **fields)

    def hold(self, on: str, before: bool = False) -> int:
        number: int = self.call("hold", on=on, before=before)["hold"]
        return number

    def reached(self, hold: int, timeout: float = 5) -> bool:
        """Wait until the held request has arrived."""
        arrived: bool = self.call("reached", hold=hold, timeout=timeout)["reached"]
        return arrived

    def release(self, hold: int) -> None:
        self.call("release", hold=hold)

    def advance(self, milliseconds: int) -> None:
        self.call("advance", milliseconds=milliseconds)

    def stop_clock(self) -> None:
        self.call("stop_clock")

    def start_clock(self) -> None:
        self.call("start_clock")

    def index_now(self) -> None:
        self.call("index_now")

    def settle_fees(self) -> None:
        self.call("settle_fees")

    def trade_by_hand(self, symbol: str, side: str, quantity: Decimal | str | int, **values: Any) -> dict[str, str]:
        """-> {"order_id", "client_order_id"}; `values` as `SimulatedExchange.trade_by_hand` takes them."""
        ids: dict[str, str] = self.call("trade_by_hand", symbol=symbol, side=side, quantity=str(quantity), **values)
        return ids

    def cancel_by_hand(self, order_id: str, symbol: str | None = None) -> None:
        self.call("cancel_by_hand", order_id=order_id, symbol=symbol)

    def liquidate(self, symbol: str, fraction: Decimal | str | int = 1) -> dict[str, str]:
        ids: dict[str, str] = self.call("liquidate", symbol=symbol, fraction=str(fraction))
        return ids

    def deleverage(self, symbol: str, quantity: Decimal | str | int) -> dict[str, str]:
        ids: dict[str, str] = self.call("deleverage", symbol=symbol, quantity=str(quantity))
        return ids

    def settle(self, symbol: str) -> dict[str, str]:
        ids: dict[str, str] = self.call("settle", symbol=symbol)
        return ids

    def stop_by_hand(self, symbol: str, **prices: Decimal | str) -> list[dict[str, str]]:
        """`prices`: stop_loss, take_profit -> [{"order_id", "client_order_id"}]"""
        made: list[dict[str, str]] = self.call("stop_by_hand", symbol=symbol, **prices)["orders"]
        return made

    def now(self) -> int:
        """The exchange's clock: milliseconds since the epoch."""
        moment: int = self.call("now")["now"]
        return moment

    def fund(self, symbol: str, rate: Decimal | str) -> dict[str, str]:
        """-> {"funding_id", "amount"}"""
        paid: dict[str, str] = self.call("fund", symbol=symbol, rate=str(rate))
        return paid

    def correct_fee(self, trade_id: str, symbol: str, amount: Decimal | str, currency: str | None = None) -> None:
        self.call("correct_fee", trade_id=trade_id, symbol=symbol, amount=str(amount), currency=currency)

    def messages(self, since: int = 0) -> list[dict[str, Any]]:
        """[{"number", "message"}], those after number `since`."""
        rows: list[dict[str, Any]] = self.call("messages", since=since)["messages"]
        return rows

    def ledger(self) -> dict[str, Any]:
        """orders, fills, fundings, positions, balances; numbers as text."""
        rows: dict[str, Any] = self._open(f"{self.url}/_control/ledger")
        return rows

    def requests(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._open(f"{self.url}/_control/requests")
        return rows

    def stop(self) -> None:
        self.call("shutdown")
        if self.process is not None:
            self.process.communicate(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self, request: urllib.request.Request | str) -> Any:
        # No proxy of the environment may stand between a test and loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None
