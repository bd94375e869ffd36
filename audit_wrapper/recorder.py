"""Calls and their outcomes -> records -> journal. The only part of ours that runs inside the bot's calls.

A call is observed as a *frame*; frames nest as calls do: a manager's method holds the client's method, which holds the
client's `request`, which holds one *attempt* per HTTP request. The intent is written at the last moment before
something leaves, from the frame nearest to the wire, so that each request gets one intent with the very text that is
sent; its outcome is written before the bot gets its answer. Where the wire cannot be seen (a mocked client, a manager
with an exchange layer of its own) the outermost frame writes its intent when the call begins.

Nothing here raises: whoever calls it runs inside a trade. The one exception is asked for by a setting (EntryRefused).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from audit_wrapper import calls, scopes
from audit_wrapper.callframe import Attempt, Frame, Subject
from audit_wrapper.errors import EntryRefused
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.failures import Failures
from audit_wrapper.journal import Journal
from audit_wrapper.records import (
    Action,
    Call,
    PositionLink,
    RecordKind,
    Request,
    Response,
    Seam,
)
from audit_wrapper.scribe import Scribe
from audit_wrapper.snapshot import named, without_secrets
from audit_wrapper.stamping import stamp, texts
from audit_wrapper.verdict import verdict

_READ = calls.CallRow("read", Action.OTHER)
_MANAGER, _CLIENT, _TRANSPORT = Seam.MANAGER, Seam.CLIENT, Seam.TRANSPORT  # as in `callframe`
_UNCHANGED = RecordKind.UNCHANGED
_SILENT = frozenset({Action.OTHER, Action.POSITION})


@lru_cache(maxsize=1_024)  # ccxt's paths are templates: a bot uses a few dozen
def _row_of(exchange: str, api: str, method: str, path: str) -> calls.CallRow | None:
    """The row of a request; None: it changes nothing."""
    adapter = adapter_for(exchange)
    if not adapter.is_write(api, method, path):
        return None
    return calls.CallRow(f"{method} {path}", adapter.action_of(method, path) or Action.OTHER)


class Recorder(Scribe):
    """Sees the calls of one trail, and has them written down."""

    def __init__(
        self,
        journal: Journal,
        *,
        account: str,
        failures: Failures,
        refuse_entries: bool = False,
        power: bool = False,
        stamping: bool = False,
        append_times: deque[int] | None = None,
    ) -> None:
        """refuse_entries: an entry whose intent cannot be written is not to leave; `begin` and `attempt` raise then.
        power: records are forced to the disk itself. stamping: orders without a client order id are given one.
        append_times: as of `Outbox`.
        """
        super().__init__(
            journal,
            account=account,
            failures=failures,
            refuse_entries=refuse_entries,
            power=power,
            append_times=append_times,
        )
        self.stamping = stamping
        self._frame: ContextVar[Frame | None] = ContextVar("audit_wrapper_frame", default=None)
        self.active = True  # False once the trail is closed: proxies that the bot still holds look away
        self.under_way = 0  # frames that are open now; nothing is asked of an exchange while there are any
        self.client_used: Callable[[Subject], None] | None = None  # told of every request of a client, reads too

    def begin_anew(self, journal: Journal) -> None:
        """In a forked child: what waits is the parent's, and so are the calls of its other threads."""
        self._write_anew(journal)
        self.under_way = 0 if self._frame.get() is None else 1

    def note_failure(self, kind: str, problem: BaseException) -> None:
        """Something of ours went wrong inside a call of the bot's."""
        self._failures.note(kind, problem)

    # -- frames

    def begin(
        self, seam: Seam, row: calls.CallRow, subject: Subject, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Frame | None:
        """A call of a row of the table begins. None: it is not to be recorded."""
        frame = None
        try:
            if not self.active or scopes.is_suppressed():
                return None
            frame = Frame(seam, row, subject, self._frame.get())
            frame.arguments = calls.arguments(row, args, kwargs)
            symbol = frame.arguments.get("symbol")
            frame.symbol = symbol if isinstance(symbol, str) else None
            frame.call = Call(seam=seam, target=subject.target, method=row.method, arguments=named(frame.arguments))  # type: ignore[arg-type]
            self._enter(frame)
            sees_all = subject.transport and not row.websocket
            if not sees_all and not frame.muted and row.action not in _SILENT:
                frame.intent = self._intent(frame, frame.call, 0, None)
            return frame
        except BaseException as problem:
            self._broken_off("recording a call", frame, problem)
            return None

    def begin_request(self, subject: Subject, api: str, method: str, path: str, params: Any) -> Frame | None:
        """A client's `request` begins, if it is one that can change something."""
        frame = None
        try:
            if not self.active or scopes.is_suppressed():
                return None
            parent = self._frame.get()
            if self.client_used is not None:
                self.client_used(subject)
            row = _row_of(subject.exchange or "", api, method, path)
            if row is None:
                return self._reading(subject, parent)
            frame = Frame(_TRANSPORT, row, subject, parent)
            parent = frame.parent
            frame.arguments = params if isinstance(params, dict) else {}
            symbol = frame.arguments.get("symbol")
            frame.symbol = symbol if isinstance(symbol, str) else None
            if parent is not None and parent.seam is _CLIENT:
                frame.call = parent.call
            else:
                frame.call = Call(
                    seam=_TRANSPORT,
                    target=subject.target,
                    method=row.method,
                    arguments=named(frame.arguments),  # type: ignore[arg-type]
                )
            self._enter(frame)
            return frame
        except BaseException as problem:
            self._broken_off("recording a request", frame, problem)
            return None

    def stamped(self, frame: Frame, kind: str, api: str, method: str, path: str, params: Any) -> Any:
        """The parameters of the frame's request with client order ids, as far as they were missing; None: as they are.
        kind: ccxt's name of the exchange.
        """
        try:
            if frame.muted:
                return None
            above = frame.client_above
            own = texts(above.arguments) if above is not None else None
            target = (id(frame.subject), kind.lower())
            found = stamp(
                frame.story.stamps, frame.story.operation().correlation_id, target, (api, method, path), params, own
            )
            if found is None:
                return None
            changed, frame.stamp = found
            return changed
        except Exception as problem:  # a bug of ours is counted, and the order goes out as the bot made it
            self._failures.note("stamping an order", problem)
            return None

    def leave(self, frame: Frame | None) -> None:
        """The context goes on without the frame (a coroutine that is not awaited yet)."""
        if frame is not None and frame.token is not None:
            self._reset(frame)

    def resume(self, frame: Frame | None) -> None:
        """The frame's coroutine runs now."""
        if frame is not None:
            frame.token = self._frame.set(frame)

    def returned(self, frame: Frame | None, result: Any, problem: BaseException | None = None) -> None:
        """The call returned `result`, or raised `problem`."""
        if frame is None:
            return
        frame.ended = True
        if frame.parent is None and frame.counts:
            self.under_way -= 1
        try:
            if frame.token is not None:
                self._reset(frame)
            if not frame.muted:
                self._conclude(frame, result, problem)
            if frame.stamp is not None:
                frame.story.stamps.ended(frame.stamp, answered=problem is None)
            if frame.parent is not None:
                frame.parent.evidence += frame.evidence
        except Exception as bug:  # a bug of ours is counted, and the trade goes on
            self._failures.note("recording an outcome", bug)

    def raised(self, frame: Frame | None, problem: BaseException) -> None:
        """The call raised, or was cancelled."""
        self.returned(frame, None, problem)

    # -- HTTP

    def attempt(self, subject: Subject, url: Any, method: Any, body: Any) -> Attempt | None:
        """A client's `fetch` is about to send. None: it sends nothing that is to be recorded."""
        frame, direct = None, False
        try:
            if scopes.is_suppressed():
                return None
            frame = self._frame.get()
            parts = urlsplit(str(url))
            direct = frame is None or frame.seam is not _TRANSPORT
            if direct:  # not by way of `request`: somebody signed it by hand
                frame = None if method == "GET" else self.begin_request(subject, "private", str(method), parts.path, {})
            if frame is None or frame.muted:
                if frame is not None and direct:
                    self._abandon(frame)
                return None
            frame.attempts += 1
            text = parts.query
            if isinstance(body, str) and body:
                text = f"{text}&{body}" if text and body[0] not in "{[" else body
            request = Request(method=str(method), path=parts.path, params=without_secrets(text) or None)
            call = frame.call
            assert call is not None
            attempt = Attempt(self._intent(frame, call, frame.attempts, request), frame if direct else None)
            frame.pending.append(attempt)
            if self.durable is None:
                attempt.left()  # else it waits for the disk first, and `attempt_left` is told
            return attempt
        except BaseException as problem:
            self._broken_off("recording a request", frame if direct else None, problem)
            return None

    def answer(self, status: Any, text: Any) -> None:
        """The text of an answer arrived."""
        try:
            if scopes.is_suppressed():
                return
            frame = self._frame.get()
            if frame is not None and frame.seam is _TRANSPORT and frame.pending:
                frame.pending[-1].response = Response(
                    http_status=status if isinstance(status, int) else None,
                    text=text if isinstance(text, str) else None,
                )
        except Exception as problem:  # a bug of ours is counted, and the trade goes on
            self._failures.note("recording an answer", problem)

    def attempt_left(self, attempt: Attempt | None) -> None:
        """Its intent is on the disk, and the request leaves now."""
        if attempt is not None:
            attempt.left()

    def attempt_returned(self, attempt: Attempt | None, result: Any) -> None:
        """The request was answered. What its answer means is settled by the call it was made in, where there is one."""
        if attempt is None:
            return
        attempt.ended()
        if attempt.direct is not None:
            self.returned(attempt.direct, result)

    def attempt_failed(self, attempt: Attempt | None, problem: BaseException) -> None:
        """The request raised: its outcome is settled now, since the client may send another."""
        if attempt is None:
            return
        attempt.ended()
        try:
            frame = self._frame.get()
            if frame is not None and attempt in frame.pending:
                frame.pending.remove(attempt)
                self._outcome(frame, attempt.intent, attempt, None, problem)
        except Exception as bug:  # as in answer
            self._failures.note("recording an outcome", bug)
        if attempt.direct is not None:
            self.raised(attempt.direct, problem)

    # -- positions

    def position_created(self, link: PositionLink) -> None:
        """The bot made a row of its positions table."""
        if not self.active or scopes.is_suppressed():
            return
        try:
            frame = self._frame.get()
            if frame is not None:
                scopes.learn(frame.story, link)
            scopes.position_created(link)
            self._write_link(link)
        except Exception as problem:  # as in answer
            self._failures.note("recording a position", problem)

    def position_updated(self, link: PositionLink, *, done: bool) -> None:
        """The bot changed a row of its positions table: it names its entry order, or is done with."""
        if not self.active or scopes.is_suppressed():
            return
        try:
            if link.exchange_order_id is not None:
                self._write_link(link)
            if done and link.position_id is not None:
                scopes.position_closed(link.position_id)
        except Exception as problem:  # as in answer
            self._failures.note("recording a position", problem)

    # -- inside

    def _enter(self, frame: Frame) -> None:
        if frame.parent is None:
            self.under_way += 1
        if frame.row.method == "open_position_atomic" and frame.story.position is None:
            frame.story.position = frame.opened_position
        frame.token = self._frame.set(frame)

    def _reading(self, subject: Subject, parent: Frame | None) -> Frame:
        """A read: nothing of it is recorded, and its `fetch` is known for what it is."""
        frame = Frame(_TRANSPORT, _READ, subject, parent)
        frame.muted, frame.counts = True, False
        frame.token = self._frame.set(frame)
        return frame

    def _broken_off(self, kind: str, frame: Frame | None, problem: BaseException) -> None:
        """Whatever comes after is not within the frame. A bug of ours is counted, and the trade goes on; a refusal that
        was asked for, and Ctrl-C, keep the call from being made."""
        self._abandon(frame)
        if isinstance(problem, EntryRefused) or not isinstance(problem, Exception):
            raise problem
        self._failures.note(kind, problem)

    def _abandon(self, frame: Frame | None) -> None:
        if frame is not None and frame.token is not None:
            self._reset(frame)
            if frame.parent is None and frame.counts:
                self.under_way -= 1

    def _reset(self, frame: Frame) -> None:
        token, frame.token = frame.token, None
        if self._frame.get() is not frame:
            return  # a coroutine that was dropped midway and is collected while another call is open
        try:
            self._frame.reset(token)
        except ValueError:  # ended in another context than it began in: that one is gone, and this one is not ours
            return

    def _conclude(self, frame: Frame, result: Any, problem: BaseException | None) -> None:
        if frame.intent is not None:
            self._outcome(frame, frame.intent, None, result, problem)
            return
        if frame.pending:
            if frame.seam is _TRANSPORT and problem is None and frame.client_above is not None:
                frame.client_above.pending += frame.pending  # settled with the parsed order
                return
            for attempt in frame.pending:
                last = attempt is frame.pending[-1]
                self._outcome(frame, attempt.intent, attempt, result if last else None, problem)
            return
        if frame.row.action in _SILENT and not frame.row.composite:
            return
        if frame.evidence:
            if frame.seam is _MANAGER:
                self._report(frame, result, problem)
            return
        self._without_evidence(frame, result, problem)

    def _without_evidence(self, frame: Frame, result: Any, problem: BaseException | None) -> None:
        """Nothing within the call was seen to leave for the exchange."""
        if frame.row.composite:
            self._report(frame, result, problem)
        elif problem is not None:
            if frame.seam is not _TRANSPORT or frame.parent is None:
                self._not_sent(frame, problem)
        elif frame.seam is _TRANSPORT:
            return
        else:
            kind, _ = verdict(frame.row, result)
            if kind is _UNCHANGED:
                self._alone(frame, kind, result)
            else:
                # it did something that went by none of our seams: its own word is the evidence
                assert frame.call is not None
                intent = self._intent(frame, frame.call, 0, None)
                self._outcome(frame, intent, None, result, None)
