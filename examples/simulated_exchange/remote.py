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
    def spawn(cls, kind: str) -> RemoteExchange:
        """Start `python -m simulated_exchange kind` and wait for its ready line."""
        process = subprocess.Popen(
            [sys.executable, "-m", "simulated_exchange", kind, "--exit-with-parent"],
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
        """Change fields of `engine.Settings`: split_fills, fee_currency, maker_rate ..."""
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

    def ledger(self) -> dict[str, Any]:
        """orders, fills, positions, balances; numbers as text."""
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
