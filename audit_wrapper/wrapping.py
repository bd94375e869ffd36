"""What `wrap` and `instrument` do: find out what an object is, observe it the right way, and be able to undo that."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import wrapt

from audit_wrapper import calls
from audit_wrapper.clients import InstrumentedClient, is_ccxt, is_client
from audit_wrapper.errors import CannotWrap
from audit_wrapper.failures import Failures
from audit_wrapper.observe import Observed, observed, replaced_by
from audit_wrapper.proxies import (
    CLIENT_ATTRIBUTES,
    CallableHostProxy,
    HostProxy,
    HostSubject,
    MethodHooks,
    PositionsSeen,
    RepositoryHooks,
    client_of,
    exchange_of,
)
from audit_wrapper.recorder import Recorder

# methods that only a manager has; the others of its table exist on ccxt clients and repositories too
_MANAGER_ONLY = (*calls.STOP_LOSS_MANAGER, *calls.ATOMIC, "update_stop_loss_atomic", "create_stop_loss_order_split")


class Wrapping:
    """Everything one trail observes."""

    def __init__(self, recorder: Recorder, failures: Failures) -> None:
        self._recorder = recorder
        self._failures = failures
        self._clients: dict[int, InstrumentedClient] = {}
        self._classes: dict[str, _InstrumentedClass] = {}
        self._subjects: dict[tuple[str, int], HostSubject] = {}
        self._in_place: dict[int, Any] = {}
        self._positions = PositionsSeen()

    # -- objects

    def wrap(self, thing: Any) -> Any:
        """The same kind of thing, observed. Raises CannotWrap where there is nothing to observe, and leaves all as it was."""
        before = set(self._clients)
        try:
            return self._wrapped(thing)
        except CannotWrap:
            for key in set(self._clients) - before:
                self._clients.pop(key).restore()
            raise

    def _wrapped(self, thing: Any) -> Any:
        if isinstance(thing, dict):
            return self._wrap_mapping(thing)
        if isinstance(thing, list | tuple):
            items = [self._wrapped(item) for item in thing]
            return thing._make(items) if hasattr(thing, "_make") else type(thing)(items)
        if self._owns(thing):
            return thing
        if _is_manager(thing):
            return self._wrap_manager(thing)
        if _is_repository(thing):
            return self._wrap_repository(thing)
        if is_client(thing):
            self.instrument_client(thing)
            return thing
        raise CannotWrap(
            f"cannot wrap {type(thing).__module__}.{type(thing).__qualname__}: looked for an exchange manager (one of "
            f"{', '.join(sorted(calls.MANAGER))}), a stop-loss manager ({', '.join(calls.STOP_LOSS_MANAGER)}), a ccxt "
            "client (create_order and cancel_order), a repository (create_position), or a dict or list of these"
        )

    def unwrap(self, thing: Any) -> Any:
        """Undo `wrap` wholly: the object that was handed in, with its client as it was before."""
        if isinstance(thing, dict):
            plain = _copy_of(thing)
            for key, item in thing.items():
                plain[key] = self.unwrap(item)
            return plain
        if isinstance(thing, list | tuple):
            items = [self.unwrap(item) for item in thing]
            return thing._make(items) if hasattr(thing, "_make") else type(thing)(items)
        original = thing
        if self._owns(thing):
            original = thing.__wrapped__
            thing._self_hooks = {}  # wherever the bot still holds the proxy, it is the bare object now
        for candidate in (original, client_of(original)):
            known = self._clients.pop(id(candidate), None)
            if known is not None:
                known.restore()
                self._forget(candidate)
        return original

    def _wrap_mapping(self, thing: dict[Any, Any]) -> dict[Any, Any]:
        wrapped = _copy_of(thing)
        for key, item in thing.items():
            wrapped[key] = self._wrapped(item)
        return wrapped

    def _owns(self, thing: Any) -> bool:
        return isinstance(type(thing), type) and issubclass(type(thing), HostProxy) and thing._self_owner is self

    def _wrap_manager(self, manager: Any) -> Any:
        self._subject(manager)  # observes its client now, so that what was handed out earlier is covered too
        # asked anew at each call: a bot may make its client later, or a new one after a failure
        hooks = {
            name: MethodHooks(self._recorder, row, lambda _: self._subject(manager)) for name, row in calls.HOST.items()
        }
        return self._proxy(manager, hooks)

    def _wrap_repository(self, repository: Any) -> Any:
        return self._proxy(repository, self._repository_hooks())

    def _repository_hooks(self) -> dict[str, RepositoryHooks]:
        return {name: RepositoryHooks(self._recorder, row, self._positions) for name, row in calls.REPOSITORY.items()}

    def _proxy(self, thing: Any, hooks: Mapping[str, Any]) -> HostProxy:
        kind = CallableHostProxy if callable(thing) else HostProxy
        return kind(thing, hooks, self)

    def _subject(self, host: Any) -> HostSubject:
        client = self._client_of(host)
        if client is None:
            return HostSubject(type(host).__name__, exchange_of(host), None)
        key = (type(host).__name__, id(client))
        subject = self._subjects.get(key)
        if subject is None:
            try:
                known = self.instrument_client(client, exchange_of(host))
            except CannotWrap as problem:  # its own methods are seen all the same, and their results are the evidence
                self._failures.note("observing a client", problem)
                return HostSubject(type(host).__name__, exchange_of(host), None)
            subject = self._subjects[key] = HostSubject(key[0], known.subject.exchange, known)
        return subject

    def _client_of(self, host: Any) -> Any:
        for name in CLIENT_ATTRIBUTES:
            known = self._clients.get(id(getattr(host, name, None)))
            if known is not None:
                return known.client
        return client_of(host)

    def instrument_client(self, client: Any, exchange: str | None = None) -> InstrumentedClient:
        """Observe a client in place; once is enough."""
        known = self._clients.get(id(client))
        if known is None:
            known = self._clients[id(client)] = InstrumentedClient(client, self._recorder, exchange)
        return known

    def clients(self) -> Iterable[InstrumentedClient]:
        """Every client that is observed now."""
        return list(self._clients.values())

    # -- classes

    def instrument(self, what: str | type) -> None:
        """Observe a class ("package.module:Class" or the class itself), imported already or later."""
        name = _class_name(what)
        if name in self._classes:
            return
        module, separator, path = name.partition(":")
        if not module or not separator or not path:
            raise CannotWrap(f"cannot instrument {what!r}: give it as 'package.module:Class'")
        entry = _InstrumentedClass(name)
        if not isinstance(what, str):
            self._observe_class(entry, what)
        elif module in sys.modules:
            self._observe_class(entry, _found(sys.modules[module], path, name))
        else:
            _can_be_found(module, name)
            wrapt.register_post_import_hook(lambda imported: self._imported(entry, imported, path), module)
        self._classes[name] = entry

    def uninstrument(self, what: str | type) -> None:
        """Undo `instrument` wholly; also where the class was never imported."""
        name = _class_name(what)
        entry = self._classes.pop(name, None)
        if entry is not None:
            entry.restore()

    def undo_all(self) -> None:
        """Take off everything that was put on an object or a class in place."""
        for name in list(self._classes):
            self.uninstrument(name)
        for client in self._clients.values():
            client.restore()
        self._clients.clear()
        self._subjects.clear()
        for repository in self._in_place.values():
            for name in calls.REPOSITORY:
                if type(vars(repository).get(name)) is Observed:
                    delattr(repository, name)
        self._in_place.clear()

    def _forget(self, client: Any) -> None:
        self._subjects = {key: subject for key, subject in self._subjects.items() if key[1] != id(client)}

    def _imported(self, entry: _InstrumentedClass, module: Any, path: str) -> None:
        # inside the bot's own import: nothing may be raised here
        if entry.active:
            try:
                self._observe_class(entry, _found(module, path, entry.name))
            except Exception as problem:  # counted and shown; the bot's import goes on
                self._failures.note("instrumenting a class", problem)

    def _observe_class(self, entry: _InstrumentedClass, cls: type) -> None:
        table: dict[str, Any] = {}
        if hasattr(cls, "create_position"):
            table.update(self._repository_hooks())
        else:
            for name, row in calls.HOST.items():
                table[name] = MethodHooks(self._recorder, row, self._reach)
        chosen = {name: hooks for name, hooks in table.items() if callable(getattr(cls, name, None))}
        if not chosen:
            raise CannotWrap(
                f"cannot instrument {entry.name}: it has none of {', '.join(sorted({*calls.HOST, *calls.REPOSITORY}))}"
            )
        entry.observe(cls, chosen)

    def _reach(self, instance: Any) -> HostSubject:
        """An instance of an instrumented class works through clients nobody handed in: observe those too."""
        try:
            for holder in (instance, *_managers_of(instance)):
                client = client_of(holder)
                if client is not None:
                    self.instrument_client(client, exchange_of(holder))
            repository = getattr(instance, "repository", None)
            if repository is not None and not self._owns(repository) and _is_repository(repository):
                self._observe_repository(repository)
        except Exception as problem:  # inside a trade
            self._failures.note("observing a client", problem)
        return self._subject(instance)

    def _observe_repository(self, repository: Any) -> None:
        if id(repository) in self._in_place:
            return
        self._in_place[id(repository)] = repository
        for name, hooks in self._repository_hooks().items():
            function = getattr(repository, name, None)
            if callable(function) and type(function) is not Observed:
                setattr(repository, name, observed(function, hooks))


class _InstrumentedClass:
    def __init__(self, name: str) -> None:
        self.name = name
        self.active = True
        self._cls: type | None = None
        self._installed: dict[str, Observed] = {}

    def observe(self, cls: type, chosen: Mapping[str, Any]) -> None:
        self._cls = cls
        for name, hooks in chosen.items():
            own = cls.__dict__.get(name)
            self._installed[name] = observed(own if own is not None else getattr(cls, name), hooks, own)
            setattr(cls, name, self._installed[name])

    def restore(self) -> None:
        self.active = False
        for name, put in self._installed.items():
            put.let_go()
            if self._cls is None or self._cls.__dict__.get(name) is not put:
                continue  # the bot set another meanwhile
            own = replaced_by(put._self_replaced)
            if own is None:
                delattr(self._cls, name)
            else:
                setattr(self._cls, name, own)
        self._installed.clear()


def _class_name(what: str | type) -> str:
    if isinstance(what, str):
        return what
    if not isinstance(what, type):
        raise CannotWrap(f"cannot instrument {what!r}: give a class, or its name as 'package.module:Class'")
    return f"{what.__module__}:{what.__qualname__}"


def _is_manager(thing: Any) -> bool:
    if is_ccxt(thing) or isinstance(thing, type):
        return False
    if any(callable(getattr(thing, name, None)) for name in _MANAGER_ONLY):
        return True
    has_rows = any(callable(getattr(thing, name, None)) for name in calls.MANAGER)
    return has_rows and not _is_repository(thing) and (client_of(thing) is not None or not is_client(thing))


def _is_repository(thing: Any) -> bool:
    return not isinstance(thing, type) and callable(getattr(thing, "create_position", None))


def _managers_of(instance: Any) -> list[Any]:
    managers = getattr(instance, "exchange_manager", None) or getattr(instance, "managers", None)
    found = list(managers.values()) if isinstance(managers, dict) else [managers] if managers is not None else []
    stop = getattr(instance, "stop_loss_manager", None)
    return [*found, stop] if stop is not None else found


def _copy_of(thing: dict[Any, Any]) -> dict[Any, Any]:
    return copy.copy(thing)  # a dict of the bot's own kind, with whatever else it carries


def _found(module: Any, path: str, name: str) -> type:
    cls = module
    for part in path.split("."):
        cls = getattr(cls, part, None)
    if not isinstance(cls, type):
        classes = [n for n, c in vars(module).items() if inspect.isclass(c) and c.__module__ == module.__name__]
        raise CannotWrap(
            f"cannot instrument {name}: that module has no such class; it has {', '.join(classes) or 'none'}"
        )
    return cls


def _can_be_found(module: str, name: str) -> None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise CannotWrap(f"cannot instrument {name}: there is no module {module!r} on Python's path")
