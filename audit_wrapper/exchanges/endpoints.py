"""Which private requests change something, told by method and path, for exchanges without a table of their
own.

The rule was measured on the order endpoints of the 94 exchanges in ccxt 4.5 that have any: it finds all but
one, and calls about one in 250 other endpoints an order. It labels requests; nothing is left out of the trail
because of it, except reads that are certain.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from audit_wrapper.exchanges.numbers import text_of
from audit_wrapper.records import Action


def _any(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


GET_THAT_WRITES = {
    "deribit": _any(r"(^|/)(buy|sell|edit\w*|cancel\w*|close_position|move_positions|execute_block_trade)$"),
    "coinbaseinternational": _any(r"(^|/)(buy|sell|edit\w*|cancel\w*|close_position)$"),
    "dydx": _any(r"broadcast_tx"),
}
"""Exchanges where a GET places orders (Deribit: every private call is a GET)."""

POST_THAT_WRITES = {
    "kraken": _any(
        r"^(0/)?(private/)?(Add|Amend|Edit|Cancel)\w*$",
        r"(^|/)(Withdraw|WithdrawCancel|WalletTransfer|Stake|Unstake|CreateSubaccount|AccountTransfer)$",
        r"(^|/)Earn/(Allocate|Deallocate)$",
    ),
    "bitfinex": _any(r"auth/w/"),
    "cryptocom": _any(r"(^|/)(create|cancel|amend|close|change|withdraw|stak|unstak)[\w-]*", r"/(?!get)[\w]*transfer"),
}
"""Exchanges that read by POST too: only these paths write."""

_HARMLESS = _any(r"order/test$", r"pre-?check", r"preview", r"listenKey$", r"userDataStream", r"userListenToken")
"""Writes by method only: they validate an order, or keep a data stream open."""

_ORDERISH = _any(
    r"order|cancel|amend|trading-?stop|tpsl|algo|trigger|entrust|twap|liquidat|autoorders",
    r"close_?-?position|positions?/(\S+/)?close|position/market|(^|[/_])(buy|sell)",
    r"(^|/)(edit|replace|exchange|execute|command|rfqs?|plan|place|submit|trade|trade_add)(/|$)",
    r"sendtx|broadcast_tx|countdown|dead_?man",
)
_VERB = _any(
    r"create|cancel|delete|trade_?add|add_?order|place|amend|edit(?!_preview)|modify|replace|close(?!d)|riskorder",
    r"execute|command|batch|submit|(^|[/_])(buy|sell)|order/(collateral/)?(limit|market|stop|new)",
)
_READ = _any(
    r"(^|[/_\-.])(get|query|search|list|hist\w*|details?|infos?|open[-_]?orders?|closed[-_]?orders?|queryorders"
    r"|tradesinfo|tradeshistory|pending|active|matchresults?|fills?|executions?|mytrades|order[-_]?book|hisorders"
    r"|fees?|status|preview|precheck|complete_orders)(?=[/_\-.{]|(?-i:[0-9A-Z])|$)",
    r"(^|/)(get|order(history|byid|status)|list(?!en))\w*",
)
_OTHER = _any(
    r"borrow|repay|loan|transfer|withdraw|deposit|convert|quote-apply|stak|earn|sub-?account|api-?key",
    r"leverage|margin-?mode|position-?mode|positionMargin|position/margin|addMargin|reduceMargin|trade/margin",
    r"^(cross-)?margin/orders$|dual",
)
_ACCOUNT = _any(
    r"leverage|(margin|cross|account|unified)[-_]?(mode|type)|position[-_]?(mode|side)|positionMargin|position/margin",
    r"positions/[^/]+/margin|(add|reduce|adjust)[-_]?margin",
    r"dual|tpsl-?mode|risk[-_]?limit|(set|switch)-?isolated|isolated[-_]?mode|countdown|dead_?man|cancel-?_?all-?_?(orders-?_?)?after",
)

_MONEY = _any(r"withdraw|deposit|loan|lending|stak|redeem|sub-?account|api-?key|funding/")
"""Never an order, not even when it is cancelled."""

_PLACEHOLDER = re.compile(r"\{[^}]*\}")  # what it is named ("{accountMode}") says nothing of the endpoint

_LABELS = (
    (_any(r"trading-?stop|(^|[/_-])tpsl|set-?_?stop"), Action.SET_STOPS),
    (
        _any(r"cancel[-_]?all|all[-_]?open[-_]?orders|cancel[-_]?(by|orders[-_]?for)|mass[-_]?cancel"),
        Action.CANCEL_ALL,
    ),
    (_any(r"cancel|delete|(trail|chase|grid|signal|recurring|dca)/stop"), Action.CANCEL),
    (_any(r"amend|edit|modify|replace"), Action.AMEND),
    (_any(r"close_?-?position|positions?/(\S+/)?close|close(?!d)"), Action.CLOSE),
)


def generic_action(exchange_id: str, method: str, path: str) -> Action | None:
    """What a private request does, by the rule; None for a read."""
    verb, where = method.upper(), _PLACEHOLDER.sub("{}", path.strip("/"))
    if verb == "GET":
        writes = GET_THAT_WRITES.get(exchange_id)
        return _label(where) if writes is not None and writes.search(where) else None
    if _HARMLESS.search(where):
        return None
    cancels = re.search(r"cancel|order(s)?$", where, re.IGNORECASE)
    if _ACCOUNT.search(where):
        return Action.ACCOUNT
    known = POST_THAT_WRITES.get(exchange_id)
    if known is not None and not known.search(where):
        return None
    if _MONEY.search(where) or (_OTHER.search(where) and not cancels) or not _ORDERISH.search(where):
        return None if verb == "POST" and _READ.search(where) and not _VERB.search(where) else Action.OTHER
    if verb == "DELETE":
        return Action.CANCEL_ALL if re.search(r"orders$|all", where, re.IGNORECASE) else Action.CANCEL
    if verb in ("PUT", "PATCH"):
        return Action.AMEND
    if _VERB.search(where) or not _READ.search(where):
        return _label(where)
    return None


def _label(path: str) -> Action:
    return next((action for pattern, action in _LABELS if pattern.search(path)), Action.PLACE)


def is_public(api: object) -> bool:
    """Is this one of ccxt's public groups ('public', 'fapiPublicV2', ['contract', 'public'])?"""
    return any("public" in name.lower() for name in _names(api))


def _names(api: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(api, str):
        yield api
    elif type(api) in (list, tuple) and depth < 5:
        for inner in api:
            yield from _names(inner, depth + 1)


def split_version(path: object) -> tuple[str, str]:
    """A path as (prefix, rest): '/fapi/v1/order' is ('fapi', 'order'), '/v5/order/create' ('v5', 'order/create')."""
    return _split((text_of(path) or "").split("?", 1)[0])


@lru_cache(256)
def _split(path: str) -> tuple[str, str]:
    where = path.strip("/")
    found = re.match(r"^(?:((?:[a-z]?api))/)?(v\d+)/(.+)$", where)
    if found is None:
        return "", where
    return found[1] or found[2], found[3]
