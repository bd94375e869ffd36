"""Run one simulated exchange as a process of its own: `python -m simulated_exchange binance`.

Prints one JSON line, {"kind", "url", "port", "pid"}, when it is ready, and runs until /_control/shutdown,
SIGTERM or SIGINT. With --exit-with-parent it also ends when its standard input closes, so that no test leaves
one behind.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from .server import SimulatedExchange


def main() -> None:
    parser = argparse.ArgumentParser(prog="simulated_exchange", description="A simulated exchange on loopback.")
    parser.add_argument("kind", choices=["binance", "bybit"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--start-time-ms", type=int, help="where the exchange's clock begins; now by default")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input closes")
    arguments = parser.parse_args()
    sim = SimulatedExchange(
        arguments.kind, host=arguments.host, port=arguments.port, start_time_ms=arguments.start_time_ms
    ).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sim.stopping.set())
    if arguments.exit_with_parent:
        threading.Thread(target=_stop_with_stdin, args=(sim,), daemon=True).start()
    print(json.dumps({"kind": sim.kind, "url": sim.url, "port": sim.port, "pid": os.getpid()}), flush=True)
    sim.stopping.wait()
    sim.stop()


def _stop_with_stdin(sim: SimulatedExchange) -> None:
    sys.stdin.read()
    sim.stopping.set()


if __name__ == "__main__":
    main()
