"""A simulated exchange on loopback, for tests and demos: real ccxt clients trade on it over plain HTTP.

    from simulated_exchange import SimulatedExchange, async_client

    with SimulatedExchange("bybit") as sim:
        client = async_client(sim)
        await client.create_order("MNT/USDT:USDT", "market", "buy", 10)
        assert sim.ledger.positions[0].quantity == 10

`server` runs it, `ledger` holds the truth, `engine` matches, `binance` and `bybit` speak the wire formats,
`history` decides what reads show and when, `messages` is the user-data stream, `others` what happens without the
bot, `faults` what can be made to go wrong. `world` is all that a test can do to it; `remote` and `control` do it from
another process.
"""

from .clients import async_client, async_client_for, sync_client, sync_client_for
from .engine import Refusal
from .faults import (
    Delay,
    DropRequest,
    Hold,
    HttpPage,
    LoseAnswer,
    MalformedAnswer,
    RateLimited,
    Reject,
)
from .ledger import Fill, Funding, Ledger, Order, Position
from .remote import RemoteExchange
from .requests_log import CLIENT_IDS, LoggedRequest, RequestLog
from .server import SimulatedExchange

__all__ = [
    "CLIENT_IDS",
    "Delay",
    "DropRequest",
    "Fill",
    "Funding",
    "Hold",
    "HttpPage",
    "Ledger",
    "LoggedRequest",
    "LoseAnswer",
    "MalformedAnswer",
    "Order",
    "Position",
    "RateLimited",
    "Refusal",
    "Reject",
    "RemoteExchange",
    "RequestLog",
    "SimulatedExchange",
    "async_client",
    "async_client_for",
    "sync_client",
    "sync_client_for",
]
