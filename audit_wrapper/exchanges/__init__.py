"""What each exchange's answers, requests and errors mean, and how sure that is."""

from functools import lru_cache

from audit_wrapper.exchanges.base import ExchangeAdapter
from audit_wrapper.exchanges.binance import Binance
from audit_wrapper.exchanges.bybit import Bybit

__all__ = ["ExchangeAdapter", "adapter_for"]

_FAMILIES: dict[str, type[ExchangeAdapter]] = {"binance": Binance, "bybit": Bybit}


@lru_cache(maxsize=256)
def _adapter(exchange_id: str) -> ExchangeAdapter:
    for family, adapter in _FAMILIES.items():
        if exchange_id.startswith(family):
            return adapter(exchange_id)
    return ExchangeAdapter(exchange_id)


def adapter_for(exchange_id: str) -> ExchangeAdapter:
    """The adapter of a ccxt exchange id: binance, binanceusdm, bybiteu, ...; the generic one for all others."""
    return _adapter(exchange_id.strip().lower() if isinstance(exchange_id, str) else "")
