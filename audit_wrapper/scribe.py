"""Records made and handed to the journal: the intent, its outcome, and whatever else is written down.

The part of the recorder that knows what stands in a record; when one is due, `recorder` says. On the order path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from audit_wrapper import calls, codec, routing, scopes
from audit_wrapper.callframe import Attempt, Frame, Subject, now
from audit_wrapper.entries import is_entry
from audit_wrapper.errors import EntryRefused
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
    Seam,
    uuid7,
)
from audit_wrapper.snapshot import answer_shown, hidden, snapshot, without_secrets
from audit_wrapper.verdict import outcome

_TRANSPORT, _OTHER, _PLACE, _CANCEL = Seam.TRANSPORT, Action.OTHER, Action.PLACE, Action.CANCEL  # as in `callframe`
_INTENT, _ACKNOWLEDGED = RecordKind.INTENT, RecordKind.ACKNOWLEDGED
_MAY_BE_TAKEN = frozenset({RecordKind.OUTCOME_UNKNOWN, RecordKind.ACKNOWLEDGED})
_MAY_SHOW_KEYS = frozenset({Action.OTHER, Action.ACCOUNT})


class Scribe:
    """Writes the records of one trail."""

    def __init__(
        self,
        journal: Journal,
        *,
        account: str,
        failures: Failures,
        refuse_entries: bool,
        power: bool,
        append_times: deque[int] | None,
    ) -> None:
        """As of `Recorder`."""
        self.durable = Forcing(journal, failures) if power else None
        self._append_times = append_times
        self._outbox = Outbox(journal, failures, self._gap_record, append_times)
        self._account = account
        self._refuse_entries = refuse_entries
        self._failures = failures
        self.after_call: Callable[[Record, Subject], None] | None = None

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

    def _write_anew(self, journal: Journal) -> None:
        """Into this journal, and without what waited for the other one."""
        self._outbox = Outbox(journal, self._failures, self._gap_record, self._append_times)
        if self.durable is not None:
            self.durable.use_journal(journal)

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

    # -- a call

    def _intent(self, frame: Frame, call: Call, attempt: int, request: Request | None) -> Record:
        row, story = frame.row, frame.story
        arguments = frame.arguments
        params = arguments if frame.seam is _TRANSPORT else arguments.get("params")
        client_frame = frame.client_above
        symbol = frame.symbol
        market = None
        if client_frame is not None and frame.seam is _TRANSPORT:
            market = client_frame.subject.market(client_frame.symbol, None)
        if market is None:
            market = frame.subject.market(symbol, params)
        action = row.action
        meant_symbol = frame.meant_symbol or (market.symbol if market is not None else None) or symbol
        kind = _INTENT
        if frame.seam is _TRANSPORT and action is _OTHER:
            kind = RecordKind.UNATTRIBUTED if client_frame is None else _INTENT
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
            replaces=tuple(story.canceled) if story.canceled and action is _PLACE else (),
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
            if text is not response.text:
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
        if kind is _ACKNOWLEDGED and intent.action is _CANCEL:
            frame.story.canceled += self._canceled(record)
        elif kind is _ACKNOWLEDGED and intent.replaces:
            frame.story.canceled.clear()
        self._put(frame, record)
        if self.after_call is not None and kind in _MAY_BE_TAKEN:
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
