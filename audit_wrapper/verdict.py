"""What a result means where the wire cannot be seen: an order, a refusal in the bot's own form, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit_wrapper.calls import CallRow
from audit_wrapper.records import Action, RecordKind

_SHOWS_AN_ORDER = frozenset({Action.PLACE, Action.AMEND, Action.SET_STOPS, Action.CLOSE})
_SIGNS_OF_AN_ORDER = ("id", "orderId", "order_id", "clientOrderId", "status", "success", "retCode", "code")


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
            return RecordKind.ACKNOWLEDGED, None
        return RecordKind.OUTCOME_UNKNOWN, "the call returned a dict that shows no order"
    if isinstance(result, bool) and row.action is Action.CLOSE:
        return RecordKind.OUTCOME_UNKNOWN, f"only the bot's own word is known: closed is {result}"
    if isinstance(result, bool):
        if result:
            return RecordKind.ACKNOWLEDGED, None
        if row.action is Action.CANCEL:
            return RecordKind.REJECTED, "the bot's own method says it was not canceled"
        return RecordKind.OUTCOME_UNKNOWN, "the bot's own method says it failed"
    if row.action not in _SHOWS_AN_ORDER and (result is not None or row.action is Action.ACCOUNT):
        return RecordKind.ACKNOWLEDGED, None
    if isinstance(result, list) and any(
        not isinstance(item, list) and _verdict(row, item)[0] is RecordKind.ACKNOWLEDGED for item in result
    ):
        return RecordKind.ACKNOWLEDGED, None
    order_id = getattr(result, "id", None)
    if isinstance(order_id, str | int) and not isinstance(order_id, bool):
        return RecordKind.ACKNOWLEDGED, None
    if result is None:
        return RecordKind.OUTCOME_UNKNOWN, "the call returned nothing"
    return RecordKind.OUTCOME_UNKNOWN, f"the call returned a {type(result).__name__}, which shows no order"
