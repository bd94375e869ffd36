"""A function of the bot's own, observed: what it sends belongs to one operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from audit_wrapper import calls
from audit_wrapper.callframe import Frame
from audit_wrapper.errors import CannotWrap, SettingsError
from audit_wrapper.observe import observed
from audit_wrapper.proxies import HostSubject
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Action, Purpose, Seam

_F = TypeVar("_F", bound=Callable[..., Any])


def audited(recorder: Recorder, trail: object, purpose: Purpose | str | None) -> Callable[[_F], _F]:
    """The decorator that `AuditTrail.audited` hands out, for the functions of this trail."""
    try:
        meant = Purpose(purpose) if purpose is not None else None
    except ValueError:
        raise SettingsError(f"there is no purpose {purpose!r}; the purposes are: {', '.join(Purpose)}") from None

    def decorate(function: _F) -> _F:
        if not callable(function):
            raise CannotWrap(f"audited() decorates functions, and this is a {type(function).__name__}")
        names = tuple(inspect.signature(function).parameters)
        is_method = names[:1] in (("self",), ("cls",))
        if is_method:
            names = names[1:]
        row = calls.CallRow(function.__qualname__, Action.OTHER, names, meant, composite=True)
        subject = HostSubject(function.__module__ or "?", None, trail)
        return cast("_F", observed(function, _Hooks(recorder, row, subject, is_method)))

    return decorate


class _Hooks:
    def __init__(self, recorder: Recorder, row: calls.CallRow, subject: HostSubject, is_method: bool) -> None:
        self._recorder, self._row, self._subject, self._is_method = recorder, row, subject, is_method
        self.leave, self.resume, self.durable = recorder.leave, recorder.resume, recorder.durable
        self.returned, self.raised = recorder.returned, recorder.raised

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame | None:
        if self._is_method and instance is None:  # not bound by the wrapper: under a classmethod, from Python 3.13 on
            args = args[1:]
        return self._recorder.begin(Seam.MANAGER, self._row, self._subject, args, kwargs)
