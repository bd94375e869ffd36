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

import msgspec
from uuid_utils.compat import uuid7

from audit_wrapper import calls, codec, routing, scopes
from audit_wrapper.callframe import Attempt, Frame, Subject, now
from audit_wrapper.entries import is_entry
from audit_wrapper.errors import EntryRefused
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.outcomes import failure_of
from audit_wrapper.failures import Failures
from audit_wrapper.forcing import Forcing
from audit_wrapper.journal import Journal
from audit_wrapper.outbox import Outbox
from audit_wrapper.reading import asked
from audit_wrapper.records import (
    Action,
    Call,
    Failure,
    PositionLink,
    Record,
    RecordKind,
    Request,
    Response,
    Seam,
)
from audit_wrapper.snapshot import answer_shown, hidden, named, snapshot, without_secrets
from audit_wrapper.stamping import stamp, texts
from audit_wrapper.verdict import outcome, verdict

_READ = calls.CallRow("read", Action.OTHER)
_SILENT = frozenset({Action.OTHER, Action.POSITION})
_MAY_BE_TAKEN = frozenset({RecordKind.OUTCOME_UNKNOWN, RecordKind.ACKNOWLEDGED})
_MAY_SHOW_KEYS = frozenset({Action.OTHER, Action.ACCOUNT})


@lru_cache(maxsize=1_024)  # ccxt's paths are templates: a bot uses a few dozen
def _asks(exchange: str, api: str, method: str, path: str) -> tuple[bool, Action | None]:
    adapter = adapter_for(exchange)
    return adapter.is_write(api, method, path), adapter.action_of(method, path)


class Recorder:
    """Writes the records of one trail."""

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
        self.stamping = stamping
        self.durable = Forcing(journal, failures) if power else None
        self._append_times = append_times
        self._outbox = Outbox(journal, failures, self._gap_record, append_times)
        self._account = account
        self._refuse_entries = refuse_entries
        self._failures = failures
        self._frame: ContextVar[Frame | None] = ContextVar("audit_wrapper_frame", default=None)
        self.active = True  # False once the trail is closed: proxies that the bot still holds look away
        self.under_way = 0  # frames that are open now; nothing is asked of an exchange while there are any
        self.after_call: Callable[[Record, Subject], None] | None = None
        self.client_used: Callable[[Subject], None] | None = None  # told of every request of a client, reads too

    @property
    def recorded(self) -> int:
        """Records made so far."""
        return self._outbox.recorded

    @property
    def waiting(self) -> int:
        """Records that wait in memory for the journal."""
        return self._outbox.waiting

    def use_journal(self, journal: Journal) -> None:
        """Records go there from now on: the other one is about to be closed."""
        self._outbox.use_journal(journal)
        if self.durable is not None:
            self.durable.use_journal(journal)

    def begin_anew(self, journal: Journal) -> None:
        """In a forked child: what waits is the parent's, and so are the calls of its other threads."""
        self._outbox = Outbox(journal, self._failures, self._gap_record, self._append_times)
        if self.durable is not None:
            self.durable.use_journal(journal)
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
            is_write, action = _asks(subject.exchange or "", api, method, path)
            if not is_write:
                return self._reading(subject, parent)
            row = calls.CallRow(f"{method} {path}", action or Action.OTHER)
            frame = Frame(Seam.TRANSPORT, row, subject, parent)
            parent = frame.parent
            frame.arguments = params if isinstance(params, dict) else {}
            symbol = frame.arguments.get("symbol")
            frame.symbol = symbol if isinstance(symbol, str) else None
            if parent is not None and parent.seam is Seam.CLIENT:
                frame.call = parent.call
            else:
                frame.call = Call(
                    seam=Seam.TRANSPORT,
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
            found = stamp(frame.stamps, frame.story.correlation_id, target, (api, method, path), params, own)
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

    def returned(self, frame: Frame | None, result: Any) -> None:
        """The call returned `result`."""
        if frame is not None:
            self._end(frame, result, None)

    def raised(self, frame: Frame | None, problem: BaseException) -> None:
        """The call raised, or was cancelled."""
        if frame is not None:
            self._end(frame, None, problem)

    # -- HTTP

    def attempt(self, subject: Subject, url: Any, method: Any, body: Any) -> Attempt | None:
        """A client's `fetch` is about to send. None: it sends nothing that is to be recorded."""
        frame, direct = None, False
        try:
            if scopes.is_suppressed():
                return None
            frame = self._frame.get()
            parts = urlsplit(str(url))
            direct = frame is None or frame.seam is not Seam.TRANSPORT
            if direct:  # not by way of `request`: somebody signed it by hand
                frame = None if method == "GET" else self.begin_request(subject, "private", str(method), parts.path, {})
            if frame is None or frame.muted:
                if frame is not None and direct:
                    self._abandon(frame)
                return None
            frame.attempts += 1
            text = "&".join(part for part in (parts.query, body if isinstance(body, str) else "") if part)
            if isinstance(body, str) and body[:1] in ("{", "["):
                text = body
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
            if frame is not None and frame.seam is Seam.TRANSPORT and frame.pending:
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
            self._end(attempt.direct, result, None)

    def attempt_failed(self, attempt: Attempt | None, problem: BaseException) -> None:
        """The request raised: its outcome is settled now, since the client may send another."""
        if attempt is None:
            return
        attempt.ended()
        try:
            frame = self._frame.get()
            if frame is not None and attempt in frame.pending:
                frame.pending.remove(attempt)
                self._settle(frame, attempt, None, problem)
        except Exception as bug:  # as in answer
            self._failures.note("recording an outcome", bug)
        if attempt.direct is not None:
            self._end(attempt.direct, None, problem)

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

    # -- what is missing

    def retry(self) -> None:
        """Write what waits in memory, if the journal takes it."""
        self._outbox.retry()

    def missing(self, sentence: str) -> None:
        """Records are missing from the journal; the sentence says which, and why."""
        self._outbox.put(self._gap_record(sentence))

    def _gap_record(self, sentence: str) -> Record:
        return Record(
            version=codec.VERSION,
            record_id=uuid7(),
            kind=RecordKind.GAP,
            account=self._account,
            reason=sentence,
            called_at=now(),
        )

    # -- what the exchange tells beside the bot's calls

    def told(
        self, kind: RecordKind, exchange: str | None, call: Call | None, result: Any = None, **fields: Any
    ) -> None:
        """What the exchange said, asked or unasked, or what follows from it. fields: others of the record."""
        self._outbox.put(
            Record(
                version=codec.VERSION,
                record_id=uuid7(),
                kind=kind,
                action=Action.ASK,
                exchange=exchange,
                account=self._account,
                call=call,
                result=snapshot(result) if result is not None else None,
                **{"called_at": now(), **fields},
            )
        )

    # -- inside

    def _enter(self, frame: Frame) -> None:
        if frame.parent is None:
            self.under_way += 1
        if frame.story.position is None and frame.seam is Seam.MANAGER:
            frame.story.position = frame.opened_position
        if frame.seam is not Seam.MANAGER:
            frame.meant = frame.manager_above
        frame.token = self._frame.set(frame)

    def _reading(self, subject: Subject, parent: Frame | None) -> Frame:
        """A read: nothing of it is recorded, and its `fetch` is known for what it is."""
        frame = Frame(Seam.TRANSPORT, _READ, subject, parent)
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

    def _end(self, frame: Frame, result: Any, problem: BaseException | None) -> None:
        frame.ended = True
        if frame.parent is None and frame.counts:
            self.under_way -= 1
        try:
            if frame.token is not None:
                self._reset(frame)
            if not frame.muted:
                self._conclude(frame, result, problem)
            if frame.stamp is not None:
                frame.stamps.ended(frame.stamp, answered=problem is None)
            if frame.parent is not None:
                frame.parent.evidence += frame.evidence
        except Exception as bug:  # as in answer
            self._failures.note("recording an outcome", bug)

    def _conclude(self, frame: Frame, result: Any, problem: BaseException | None) -> None:
        if frame.intent is not None:
            self._outcome(frame, frame.intent, None, result, problem)
            return
        if frame.pending:
            if frame.seam is Seam.TRANSPORT and problem is None and frame.client_above is not None:
                frame.client_above.pending += frame.pending  # settled with the parsed order
                return
            for attempt in frame.pending:
                last = attempt is frame.pending[-1]
                self._settle(frame, attempt, result if last else None, problem)
            return
        if frame.row.action in _SILENT and not frame.row.composite:
            return
        if frame.evidence:
            if frame.seam is Seam.MANAGER:
                self._report(frame, result, problem)
            return
        self._without_evidence(frame, result, problem)

    def _without_evidence(self, frame: Frame, result: Any, problem: BaseException | None) -> None:
        """Nothing within the call was seen to leave for the exchange."""
        if frame.row.composite:
            self._report(frame, result, problem)
        elif problem is not None:
            if frame.seam is not Seam.TRANSPORT or frame.parent is None:
                self._not_sent(frame, problem)
        elif frame.seam is Seam.TRANSPORT:
            return
        else:
            kind, _ = verdict(frame.row, result)
            if kind is RecordKind.UNCHANGED:
                self._alone(frame, kind, result)
            else:
                # it did something that went by none of our seams: its own word is the evidence
                assert frame.call is not None
                intent = self._intent(frame, frame.call, 0, None)
                self._outcome(frame, intent, None, result, None)

    def _intent(self, frame: Frame, call: Call, attempt: int, request: Request | None) -> Record:
        row, story = frame.row, frame.story
        arguments = frame.arguments
        params = arguments if frame.seam is Seam.TRANSPORT else arguments.get("params")
        client_frame = frame.client_above
        symbol = frame.symbol
        market = None
        if client_frame is not None and frame.seam is Seam.TRANSPORT:
            market = client_frame.subject.market(client_frame.symbol, None)
        if market is None:
            market = frame.subject.market(symbol, params)
        action = row.action
        meant_symbol = frame.meant_symbol or (market.symbol if market is not None else None) or symbol
        kind = RecordKind.INTENT
        if frame.seam is Seam.TRANSPORT and action is Action.OTHER:
            kind = RecordKind.UNATTRIBUTED if client_frame is None else RecordKind.INTENT
            if client_frame is not None:
                action = client_frame.row.action
        implicit = calls.IMPLICIT_REQUESTS.get(row.method)
        if request is None and implicit is not None:
            sent = snapshot(arguments.get("params"))
            request = Request(method=implicit[0], path=implicit[1], params=bytes(sent).decode("utf-8"))
        record = Record(
            version=codec.VERSION,
            record_id=uuid7(),
            kind=kind,
            action=action,
            exchange=frame.subject.exchange,
            account=self._account,
            operation=story.operation(),
            attempt=attempt,
            purpose=frame.purpose,
            call=call,
            meant=frame.meant if frame.meant is not call else None,
            market=market,
            request=request,
            position=scopes.position_for(story, frame.subject.exchange, meant_symbol),
            replaces=tuple(story.canceled) if story.canceled and action is Action.PLACE else (),
            called_at=frame.called_at if attempt <= 1 else now(),
        )
        self._put(frame, record)
        if self._refuse_entries and self._outbox.waiting:
            self._refuse(frame, record)
        return record

    def _refuse(self, frame: Frame, intent: Record) -> None:
        """The intent waits in memory and may be lost: if it is an entry, it does not leave."""
        whole = codec.decode(codec.encode(intent))  # read from bytes, as everyone else will read it
        if not is_entry(whole):
            return
        refused = EntryRefused(
            "this entry was not sent: the audit journal cannot be written, and entries_without_journal is 'refuse'. "
            "Orders that reduce a position, stops and cancels still go through. AuditTrail.status() says what is wrong"
        )
        record = msgspec.structs.replace(
            intent,
            record_id=uuid7(),
            kind=RecordKind.NOT_SENT,
            intent_id=intent.record_id,
            failure=failure_of(refused),
            reason="refused: the journal could not be written",
            answered_at=now(),
        )
        self._put(frame, record)
        raise refused

    def _settle(self, frame: Frame, attempt: Attempt, result: Any, problem: BaseException | None) -> None:
        self._outcome(frame, attempt.intent, attempt, result, problem)

    def _outcome(
        self,
        frame: Frame,
        intent: Record,
        attempt: Attempt | None,
        result: Any,
        problem: BaseException | None,
    ) -> None:
        """attempt: the request it was; None where the wire cannot be seen."""
        response = attempt.response if attempt is not None else None
        sent = True if attempt is not None else None
        kind, reason, failure = outcome(frame.seam, frame.row, intent, response, result, problem, sent=sent)
        if frame.stamp is not None and problem is not None and kind in _MAY_BE_TAKEN:
            frame.stamp.unsure = True
        secrets: list[str] = getattr(frame.subject, "secrets", [])
        hands_out_keys = intent.action in _MAY_SHOW_KEYS  # an order's answer is kept to the letter
        shown = answer_shown(result, secrets, by_name=hands_out_keys) if result is not None else None
        if response is not None and response.text is not None:
            text = hidden(without_secrets(response.text) if hands_out_keys else response.text, secrets)
            response = msgspec.structs.replace(response, text=text)
        if failure is not None:
            failure = msgspec.structs.replace(failure, message=hidden(failure.message, secrets))
        record = msgspec.structs.replace(
            intent,
            record_id=uuid7(),
            kind=kind,
            intent_id=intent.record_id,
            response=response,
            result=shown,
            failure=failure,
            reason=reason,
            answered_at=(attempt.answered_at if attempt is not None else None) or now(),
            duration_us=attempt.duration_us if attempt is not None else None,
        )
        if kind is RecordKind.ACKNOWLEDGED and intent.action is Action.CANCEL:
            frame.story.canceled += self._canceled(record)
        elif kind is RecordKind.ACKNOWLEDGED and intent.replaces:
            frame.story.canceled.clear()
        self._put(frame, record)
        if self.after_call is not None and kind in (RecordKind.ACKNOWLEDGED, RecordKind.OUTCOME_UNKNOWN):
            self.after_call(record, frame.subject)

    def _canceled(self, record: Record) -> list[str]:
        # read from bytes, as everyone else will read it
        whole = codec.decode(codec.encode(record))
        return [routing.name_of(whole, one) for one in asked(whole) if one.state.exchange_order_id is not None]

    def _not_sent(self, frame: Frame, problem: BaseException) -> None:
        failure = failure_of(problem)
        self._alone(frame, RecordKind.NOT_SENT, None, failure)

    def _report(self, frame: Frame, result: Any, problem: BaseException | None) -> None:
        failure = failure_of(problem) if problem is not None else None
        self._alone(frame, RecordKind.REPORTED, result, failure)

    def _alone(self, frame: Frame, kind: RecordKind, result: Any, failure: Failure | None = None) -> None:
        """A record with no intent before it."""
        position = scopes.position_for(frame.story, frame.subject.exchange, frame.symbol)
        self._put(
            frame,
            Record(
                version=codec.VERSION,
                record_id=uuid7(),
                kind=kind,
                action=frame.row.action,
                exchange=frame.subject.exchange,
                account=self._account,
                operation=frame.story.operation(),
                purpose=frame.purpose,
                call=frame.call,
                meant=frame.meant,
                market=frame.subject.market(frame.symbol, frame.arguments.get("params")),
                result=snapshot(result) if result is not None else None,
                failure=failure,
                position=position,
                called_at=frame.called_at,
                answered_at=now(),
            ),
        )

    def _write_link(self, link: PositionLink) -> None:
        self._outbox.put(
            Record(
                version=codec.VERSION,
                record_id=uuid7(),
                kind=RecordKind.LINKED,
                action=Action.POSITION,
                exchange=link.exchange,
                account=self._account,
                position=link,
                called_at=now(),
            )
        )

    def _put(self, frame: Frame, record: Record) -> None:
        frame.evidence += 1
        self._outbox.put(record)
