"""What became of a call: from its answer or exception where the wire was seen, else from what the bot's own method says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from audit_wrapper import codec
from audit_wrapper.calls import CallRow
from audit_wrapper.exchanges.outcomes import failure_of, judge, judge_answer
from audit_wrapper.observe import NeverRan
from audit_wrapper.records import Action, Failure, Record, RecordKind, Response, Seam

# an enum's members cost a lookup each, as in `callframe`
_ACKNOWLEDGED, _UNATTRIBUTED, _PLACE = RecordKind.ACKNOWLEDGED, RecordKind.UNATTRIBUTED, Action.PLACE
_SHOWS_AN_ORDER = frozenset({Action.PLACE, Action.AMEND, Action.SET_STOPS, Action.CLOSE})
_SIGNS_OF_AN_ORDER = ("id", "orderId", "order_id", "clientOrderId", "status", "success", "retCode", "code")


class Outcome(NamedTuple):
    """`reason`: why it is of this kind, where that is not clear."""

    kind: RecordKind
    reason: str | None
    failure: Failure | None


def outcome(
    seam: Seam,
    row: CallRow,
    intent: Record,
    response: Response | None,
    result: Any,
    problem: BaseException | None,
    *,
    sent: bool | None,
) -> Outcome:
    """What became of an intent. sent: whether its request was seen to leave; None: the wire cannot be seen."""
    if problem is not None:
        found = _of_problem(seam, intent, response, problem, sent)
    elif sent:
        found = Outcome(_ACKNOWLEDGED, None, None)  # the client judged it; an error would have been raised
        without_id = isinstance(result, dict) and result.get("id", "") is None
        if intent.action is _PLACE and without_id:
            found = Outcome(RecordKind.OUTCOME_UNKNOWN, "the answer shows no order", None)
        elif (without_id or isinstance(result, str) or result == []) and not _is_json(response):
            # ccxt hands out the text of an answer that is not JSON as if that were its result, or makes a list of nothing
            # or an order without an id of it
            found = Outcome(RecordKind.OUTCOME_UNKNOWN, "the answer cannot be read", None)
    else:
        found = Outcome(*verdict(row, result), None)
    if problem is None and found.kind is _ACKNOWLEDGED and isinstance(result, dict) and "info" not in result:
        refused = judge_answer(result, intent.exchange)  # a raw endpoint hands its refusal out as a result
        if refused.kind is not _ACKNOWLEDGED:
            failure = Failure(type="refusal", message=refused.words or "", code=refused.code)
            found = found._replace(kind=refused.kind, failure=failure)
    return found._replace(kind=_UNATTRIBUTED) if intent.kind is _UNATTRIBUTED else found


def _is_json(response: Response | None) -> bool:
    if response is None or response.text is None:
        return True  # nobody saw it
    try:
        codec.exact_json(response.text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _of_problem(
    seam: Seam, intent: Record, response: Response | None, problem: BaseException, sent: bool | None
) -> Outcome:
    failure = failure_of(problem)
    judged = judge(failure, response, sent, intent.exchange or "")
    message = judged.words if judged.words else failure.message
    failure = msgspec.structs.replace(failure, code=judged.code, message=message)
    if isinstance(problem, NeverRan):
        return Outcome(RecordKind.NOT_SENT, str(problem), failure)
    if sent is None and seam is Seam.MANAGER and type(problem) is ValueError:
        # a manager's word for an unknown symbol, before anything is sent
        return Outcome(RecordKind.NOT_SENT, judged.note, failure)
    return Outcome(judged.kind, judged.note, failure)


def verdict(row: CallRow, result: Any) -> tuple[RecordKind, str | None]:
    """The kind of record that the result makes, and why where it is not clear. Total: it may be anything."""
    try:
        return _verdict(row, result)
    except Exception as problem:  # an object of the bot's that does not want to be looked at
        return RecordKind.OUTCOME_UNKNOWN, f"the result cannot be read: {type(problem).__name__}"


def _verdict(row: CallRow, result: Any) -> tuple[RecordKind, str | None]:
    if isinstance(result, Mapping):
        if result.get("status") == "already_exists":
            return RecordKind.UNCHANGED, None
        if result.get("success") is False:
            return RecordKind.OUTCOME_UNKNOWN, f"the bot's own method says it failed: {result.get('error')}"
        if row.action not in _SHOWS_AN_ORDER or any(result.get(name) is not None for name in _SIGNS_OF_AN_ORDER):
            return _ACKNOWLEDGED, None
        return RecordKind.OUTCOME_UNKNOWN, "the call returned a dict that shows no order"
    if isinstance(result, bool) and row.action is Action.CLOSE:
        return RecordKind.OUTCOME_UNKNOWN, f"only the bot's own word is known: closed is {result}"
    if isinstance(result, bool):
        if result:
            return _ACKNOWLEDGED, None
        if row.action is Action.CANCEL:
            return RecordKind.REJECTED, "the bot's own method says it was not canceled"
        return RecordKind.OUTCOME_UNKNOWN, "the bot's own method says it failed"
    if row.action not in _SHOWS_AN_ORDER and (result is not None or row.action is Action.ACCOUNT):
        return _ACKNOWLEDGED, None
    if isinstance(result, list) and any(
        not isinstance(item, list) and _verdict(row, item)[0] is _ACKNOWLEDGED for item in result
    ):
        return _ACKNOWLEDGED, None
    order_id = getattr(result, "id", None)
    if isinstance(order_id, str | int) and not isinstance(order_id, bool):
        return _ACKNOWLEDGED, None
    if result is None:
        return RecordKind.OUTCOME_UNKNOWN, "the call returned nothing"
    return RecordKind.OUTCOME_UNKNOWN, f"the call returned a {type(result).__name__}, which shows no order"
