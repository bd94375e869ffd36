"""A ccxt client, observed in place: the choke point every order passes, and the wire under it.

The client stays the object it was; its methods are observed on the instance, in both of ccxt's spellings, so that
references taken earlier are covered and `restore` takes all of it off again. Below the unified methods, `request` sees
every call of a REST endpoint, implicit ones included, and `fetch` each HTTP attempt; `on_rest_response` shows the exact
text that came back. (ccxt 4.2 and later; names, not classes, are relied on.)
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from decimal import Decimal
from operator import is_
from typing import Any

from audit_wrapper import calls, scopes
from audit_wrapper.callframe import Frame
from audit_wrapper.errors import CannotWrap
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.numbers import decimal_of
from audit_wrapper.observe import Observed, observed, replaced_by
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Market, Seam
from audit_wrapper.snapshot import is_mock

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_CLIENT = Seam.CLIENT  # as in `callframe`
_MISSING = object()
_SECRETS = ("apiKey", "secret", "password", "token", "privateKey", "twofa", "login")
_SECRET_LENGTH = 6  # what is shorter would be found in any text


def is_ccxt(candidate: Any) -> bool:
    """Whether it is a client of ccxt, of whichever hierarchy (async, sync, pro) and release."""
    return any(cls.__module__.partition(".")[0] == "ccxt" for cls in type(candidate).__mro__)


def is_client(candidate: Any) -> bool:
    """Whether it is used as a ccxt client is: a real one, or a stub or mock with its methods."""
    if is_ccxt(candidate):
        return True
    if candidate is None or isinstance(candidate, str | bytes | int | float | dict | list | tuple | set | type):
        return False
    return callable(getattr(candidate, "create_order", None)) and callable(getattr(candidate, "cancel_order", None))


class ClientSubject:
    """What the recorder needs to know of a client."""

    def __init__(self, client: Any, exchange: str | None) -> None:
        self.client = client
        self.target = type(client).__name__
        self.exchange = exchange
        own = getattr(client, "id", None)
        self.kind = own if isinstance(own, str) else exchange or ""  # ccxt's name; a bot may call it as it likes
        self.transport = is_ccxt(client)
        self.asynchronous = inspect.iscoroutinefunction(getattr(client, "fetch", None))
        self.loop: object = None  # the loop that the bot uses it on, as far as that was seen
        self._markets: dict[tuple[str, str | None], Market] = {}
        self._secrets: tuple[tuple[Any, ...], list[str]] = ((_MISSING,) * len(_SECRETS), [])

    @property
    def secrets(self) -> list[str]:
        """What signs its requests, as it is now: a bot may change its keys."""
        if not self.transport:
            return []
        own = getattr(self.client, "__dict__", {})
        before, found = self._secrets
        words = tuple(map(own.get, _SECRETS))
        if not all(map(is_, words, before)):  # hardly ever
            found = [word for word in words if isinstance(word, str) and len(word) >= _SECRET_LENGTH]
            self._secrets = (words, found)
        return found

    @property
    def clock_ahead(self) -> timedelta:
        """How far the bot's clock is ahead of the exchange's, where the client has measured it (ccxt:
        `adjustForTimeDifference`); else nothing."""
        options = getattr(self.client, "options", None)
        measured = options.get("timeDifference") if isinstance(options, dict) else None
        return timedelta(milliseconds=measured) if isinstance(measured, int | float) else timedelta(0)

    def market(self, symbol: object, params: object) -> Market | None:
        """The client's own market entry for a unified symbol, or for the exchange's spelling of one."""
        if not isinstance(symbol, str):
            return None
        category = params.get("category") if isinstance(params, dict) else None
        key = (symbol, category if isinstance(category, str) else None)
        known = self._markets.get(key)
        if known is None:
            entry = self._entry(symbol, key[1])
            if entry is None:
                return None
            known = self._markets[key] = _market(entry)
        return known

    def _entry(self, symbol: str, category: str | None) -> dict[str, Any] | None:
        markets = getattr(self.client, "markets", None)
        if isinstance(markets, dict) and isinstance(markets.get(symbol), dict):
            entry: dict[str, Any] = markets[symbol]
            return entry
        by_id = getattr(self.client, "markets_by_id", None)
        found = by_id.get(symbol) if isinstance(by_id, dict) else None
        candidates = [m for m in (found if isinstance(found, list) else [found]) if isinstance(m, dict)]
        if category is not None:
            candidates = [m for m in candidates if m.get(category)] or candidates
        if len(candidates) > 1:
            options = getattr(self.client, "options", None)
            default = options.get("defaultType") if isinstance(options, dict) else None
            wanted = "swap" if default in ("future", "linear", "delivery") else default
            candidates = [m for m in candidates if m.get("type") == wanted]
        return candidates[0] if len(candidates) == 1 else None


class InstrumentedClient:
    """A client that is observed, and how to undo that."""

    def __init__(self, client: Any, recorder: Recorder, exchange: str | None = None) -> None:
        own = getattr(client, "id", None)
        name = own if isinstance(own, str) else None
        # a bot may call its exchange as it likes; a name of another exchange's reading would misread everything
        if exchange is not None and name is not None and type(adapter_for(exchange)) is not type(adapter_for(name)):
            exchange = name
        self.client = client
        self.subject = ClientSubject(client, exchange or name)
        self._installed: dict[str, Observed] = {}
        self._throttle: Any = None
        self._recorder = recorder
        try:
            self._observe()
        except (AttributeError, TypeError) as problem:
            self.restore()
            raise CannotWrap(
                f"{type(client).__name__} looks like a ccxt client, but its methods cannot be set on the instance "
                f"({problem}); instrument its class instead: trail.instrument('module:Class')"
            ) from None

    def _observe(self) -> None:
        if not hasattr(type(self.client), "__copy__") and not is_mock(self.client):
            # found on the instance by copy and pickle: what is put on one client must not come along to another
            self.client.__getstate__ = self._state
        for row in calls.CLIENT.values():
            hooks = _MethodHooks(self._recorder, row, self.subject)
            for name in (row.method, calls.camel(row.method)):
                self._replace(name, hooks)
        if self.subject.transport:
            self._replace("request", _RequestHooks(self._recorder, self.subject))
            self._replace("fetch", _FetchHooks(self._recorder, self.subject))
            self._replace("on_rest_response", _AnswerHooks(self._recorder))
            self._let_asking_pass()
        else:
            for row in calls.IMPLICIT.values():
                for name in (row.method, calls.camel(row.method)):
                    self._replace(name, _MethodHooks(self._recorder, row, self.subject))

    def _replace(self, name: str, hooks: Any) -> None:
        function = getattr(self.client, name, None)
        if callable(function):
            before = getattr(self.client, "__dict__", {}).get(name, _MISSING)
            self._installed[name] = observed(function, hooks, before)
            setattr(self.client, name, self._installed[name])

    def _let_asking_pass(self) -> None:
        """What we ask takes nothing from the client's rate limiter: an order of the bot would have to wait for it."""
        throttle = getattr(self.client, "throttle", None)
        if not inspect.iscoroutinefunction(throttle) or "throttle" in vars(self.client):
            return

        async def unless_asking(*args: Any, **kwargs: Any) -> Any:
            return None if scopes.is_asking() else await throttle(*args, **kwargs)

        self.client.throttle = self._throttle = unless_asking

    def _state(self) -> Any:
        """What a copy of the client is made from: the client without what was put on it."""
        own = vars(self.client)
        return {name: replaced_by(value) for name, value in own.items() if not self._is_put_on(name, value)}

    def _is_put_on(self, name: str, value: Any) -> bool:
        if name == "__getstate__" or (name == "throttle" and value is self._throttle):
            return True
        return type(value) is Observed and replaced_by(value._self_replaced) is _MISSING

    def restore(self) -> None:
        """Take everything off again. What the user replaced meanwhile is theirs and stays, without us inside it."""
        own = getattr(self.client, "__dict__", {})
        if own.get("__getstate__") == self._state:
            del self.client.__getstate__
        if self._throttle is not None and own.get("throttle") is self._throttle:
            del self.client.throttle
        for name, put in self._installed.items():
            put.let_go()
            if own.get(name, _MISSING) is not put:
                continue
            before = replaced_by(put._self_replaced)
            if before is not _MISSING:
                setattr(self.client, name, before)
                continue
            delattr(self.client, name)
            function = put.__wrapped__  # a mock makes its children once; give the same one back
            if not hasattr(type(self.client), name) and is_mock(function):
                setattr(self.client, name, function)
        self._installed.clear()


class _MethodHooks:
    def __init__(self, recorder: Recorder, row: calls.CallRow, subject: ClientSubject) -> None:
        self._recorder, self._row, self._subject = recorder, row, subject
        self.leave, self.resume, self.durable = recorder.leave, recorder.resume, recorder.durable
        self.returned, self.raised = recorder.returned, recorder.raised

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame | None:
        return self._recorder.begin(_CLIENT, self._row, self._subject, args, kwargs)


class _RequestHooks:
    def __init__(self, recorder: Recorder, subject: ClientSubject) -> None:
        self._recorder, self._subject = recorder, subject
        self.leave, self.resume, self.durable = recorder.leave, recorder.resume, recorder.durable
        self.returned, self.raised = recorder.returned, recorder.raised
        if recorder.stamping:
            self.rewritten = self._stamped

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame | None:
        return self._recorder.begin_request(self._subject, *self._asked(args, kwargs))

    def _stamped(self, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Arguments | None:
        changed = self._recorder.stamped(frame, self._subject.kind, *self._asked(args, kwargs))
        if changed is None:
            return None
        if len(args) > 3:
            return (*args[:3], changed, *args[4:]), kwargs
        return args, {**kwargs, "params": changed}

    @staticmethod
    def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str, str, Any]:
        path, api, method, params = _taken(args, kwargs, ("path", "api", "method", "params"), ("", "public", "GET", {}))
        api = api if isinstance(api, str) else "/".join(map(str, api)) if isinstance(api, list | tuple) else ""
        return api, str(method), str(path), params


class _FetchHooks:
    def __init__(self, recorder: Recorder, subject: ClientSubject) -> None:
        self._recorder, self._subject = recorder, subject
        self.returned, self.raised = recorder.attempt_returned, recorder.attempt_failed
        self.durable, self.left = recorder.durable, recorder.attempt_left

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = ("url", "method", "headers", "body")
        url, method, _, body = _taken(args, kwargs, names, (None, "GET", None, None))
        return self._recorder.attempt(self._subject, url, method, body)

    def leave(self, frame: Any) -> None: ...

    def resume(self, frame: Any) -> None: ...


class _AnswerHooks:
    """`on_rest_response(code, reason, url, method, response_headers, response_body, ...)`: the text as it came."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names = ("code", "reason", "url", "method", "response_headers", "response_body")
        status, _, _, _, _, text = _taken(args, kwargs, names, (None,) * 6)
        self._recorder.answer(status, text)

    def leave(self, frame: Any) -> None: ...

    def resume(self, frame: Any) -> None: ...

    def returned(self, frame: Any, result: Any) -> None: ...

    def raised(self, frame: Any, problem: BaseException) -> None: ...


def _taken(
    args: tuple[Any, ...], kwargs: dict[str, Any], names: tuple[str, ...], defaults: tuple[Any, ...]
) -> tuple[Any, ...]:
    if len(args) >= len(names):  # as ccxt's own methods call each other: nothing to look up
        return args[: len(names)]
    return tuple(
        args[i] if i < len(args) else kwargs.get(name, default)
        for i, (name, default) in enumerate(zip(names, defaults, strict=True))
    )


def _market(entry: dict[str, Any]) -> Market:
    def text(name: str) -> str | None:
        value = entry.get(name)
        return value if isinstance(value, str) else None

    size = entry.get("contractSize")
    contract_size: Decimal | None = decimal_of(size) if entry.get("contract") else None
    return Market(
        symbol=text("symbol"),
        exchange_symbol=text("id"),
        base=text("base"),
        quote=text("quote"),
        settle=text("settle"),
        type=text("type"),
        contract_size=contract_size,
    )
