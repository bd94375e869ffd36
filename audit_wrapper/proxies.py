"""Managers and repositories, observed through a proxy; and classes, observed wherever the bot makes their instances.

A proxy is the object it stands for in every respect but `type()`: attributes, isinstance, equality, copies and pickling
all reach through. Wrapping a manager also observes its client, in place, since that is where its orders pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import msgspec
import wrapt

from audit_wrapper import calls
from audit_wrapper.callframe import Frame, opening_side
from audit_wrapper.clients import is_client
from audit_wrapper.exchanges.numbers import decimal_of
from audit_wrapper.observe import observed
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Market, PositionLink, Seam
from audit_wrapper.snapshot import is_mock

_MANAGER = Seam.MANAGER  # as in `callframe`
CLIENT_ATTRIBUTES = ("exchange", "client", "exchange_client")
_DONE = frozenset({"closed", "failed", "rolled_back", "canceled"})


class HostSubject:
    """What the recorder needs to know of a manager."""

    def __init__(self, target: str, exchange: str | None, client: Any) -> None:
        self.target = target
        self.exchange = exchange
        self.transport = client is not None
        self._client = client

    def market(self, symbol: object, params: object) -> Market | None:
        """What the manager's client knows of the instrument; nothing where there is none."""
        subject = getattr(self._client, "subject", None)
        found = subject.market(symbol, params) if subject is not None else None
        return found if isinstance(found, Market) else None


_own = object.__getattribute__  # what the proxy itself has; wrapt's own way there is ten times as long


class HostProxy(wrapt.BaseObjectProxy[Any]):
    """Stands for a manager or a repository of the bot."""

    def __init__(self, wrapped: Any, hooks: Mapping[str, Any], owner: Any) -> None:
        super().__init__(wrapped)
        self._self_hooks = hooks
        self._self_owner = owner

    def __getattr__(self, name: str) -> Any:
        value = getattr(_own(self, "__wrapped__"), name)
        hooks = _own(self, "_self_hooks").get(name)
        if hooks is None or not callable(value):
            return value
        # made once: a bound method is another one whenever it is asked for, and says itself whether it is the same
        seen, made = hooks.seen
        if seen is value or (type(seen) is type(value) is MethodType and seen == value):
            return made
        made = observed(value, hooks)
        hooks.seen = (value, made)
        return made

    def __copy__(self) -> Any:
        return copy.copy(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce__(self) -> Any:
        return self.__wrapped__.__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


class CallableHostProxy(HostProxy):
    """The same for a mock, which can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


class MethodHooks:
    """Tells the recorder of the calls of one method of a manager (of one instance, or of all of a class)."""

    def __init__(self, recorder: Recorder, row: calls.CallRow, subject_of: Callable[[Any], HostSubject]) -> None:
        self._recorder, self._row, self._subject_of = recorder, row, subject_of
        self.leave, self.resume, self.durable = recorder.leave, recorder.resume, recorder.durable
        self.returned, self.raised = recorder.returned, recorder.raised
        self.seen: tuple[Any, Any] = (None, None)  # what a proxy handed out last: the method, and it observed

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame | None:
        """A method was called on `instance`."""
        if not self._recorder.active:
            return None
        try:
            subject = self._subject_of(instance)
        except Exception as problem:  # an attribute of the bot's that raises; the call is recorded by itself
            self._recorder.note_failure("observing a manager", problem)
            subject = HostSubject(type(instance).__name__, None, None)
        return self._recorder.begin(_MANAGER, self._row, subject, args, kwargs)


class PositionsSeen:
    """The positions a repository was seen to make, by id: an update of a row names neither exchange nor symbol."""

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._links: dict[str, PositionLink] = {}

    def remember(self, link: PositionLink) -> None:
        """Keep a position; the oldest one is forgotten when there are too many."""
        if len(self._links) >= self._LIMIT:
            self._links.pop(next(iter(self._links)))
        self._links[link.position_id or ""] = link

    def get(self, position_id: str) -> PositionLink | None:
        """The position of this id, if it was seen to be made."""
        return self._links.get(position_id)


class RepositoryHooks:
    """Reads from a bot's own repository which position is opened, which order it names, and when it is done with."""

    def __init__(self, recorder: Recorder, row: calls.CallRow, seen: PositionsSeen) -> None:
        self._recorder, self._row, self._positions = recorder, row, seen
        self.seen: tuple[Any, Any] = (None, None)  # as of MethodHooks

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments as they are now, kept until the result is known."""
        try:
            given = calls.arguments(self._row, args, kwargs)
            return {name: dict(value) if isinstance(value, Mapping) else value for name, value in given.items()}
        except Exception as problem:  # a mapping of the bot's that raises; its call goes on
            self._recorder.note_failure("recording a position", problem)
            return {}

    def leave(self, frame: Any) -> None:
        """Nothing: the repository's calls are no orders."""

    def resume(self, frame: Any) -> None:
        """Nothing."""

    def raised(self, frame: Any, problem: BaseException) -> None:
        """A row that was not written links nothing."""

    def returned(self, frame: dict[str, Any], result: Any) -> None:
        """A row was written."""
        try:
            if self._row.method == "create_position":
                self._created(frame, result)
            else:
                self._updated(frame)
        except Exception as problem:  # as in begin
            self._recorder.note_failure("recording a position", problem)

    def _created(self, given: dict[str, Any], result: Any) -> None:
        data = given.get("position_data")
        data = data if isinstance(data, Mapping) else given
        if isinstance(result, bool) or not isinstance(result, int | str):
            return
        signal = data.get("signal_id")
        link = PositionLink(
            position_id=str(result),
            signal_id=signal if isinstance(signal, int) else None,
            exchange=_text(data.get("exchange")),
            symbol=_text(data.get("symbol")),
            side=opening_side(data.get("side")),
            how="repository",
            intended_price=decimal_of(data.get("entry_price")),
            intended_stop=decimal_of(data.get("stop_loss_price")),
        )
        self._positions.remember(link)
        self._recorder.position_created(link)

    def _updated(self, given: dict[str, Any]) -> None:
        updates = given.get("updates")
        changes = {**given, **updates} if isinstance(updates, Mapping) else given
        position_id = _text(given.get("position_id"))
        if position_id is None:
            return
        link = msgspec.structs.replace(
            self._positions.get(position_id) or PositionLink(position_id=position_id, how="repository"),
            exchange_order_id=_text(changes.get("exchange_order_id")),
        )
        self._recorder.position_updated(link, done=str(changes.get("status", "")).lower() in _DONE)


def client_of(host: Any) -> Any:
    """The client inside a manager, or None where there is none that could be observed."""
    if is_mock(host):
        return None  # a mock makes up whatever it is asked for
    for name in CLIENT_ATTRIBUTES:
        candidate = getattr(host, name, None)
        if candidate is not None and is_client(candidate):
            return candidate
    return None


def exchange_of(host: Any) -> str | None:
    """The name the bot gives the exchange."""
    for name in ("name", "exchange_name", "id"):
        value = getattr(host, name, None)
        if isinstance(value, str) and value:
            return value
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None
