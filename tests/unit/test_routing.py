"""Identity: which order a record speaks of."""

from __future__ import annotations

import msgspec
from trading import Trading

from audit_wrapper.records import Market, RecordKind
from audit_wrapper.routing import Alias, Index, mentions, same_symbol, scope_of


def test_an_outcome_belongs_to_the_order_of_its_intent() -> None:
    t = Trading()
    intent = t.place()
    answer = t.took(intent, "1")
    index = Index()
    assert index.route(intent) == index.route(answer)
    assert index.route(intent)[0].order_key == intent.record_id


def test_an_order_first_met_by_its_id_becomes_one_with_its_intent() -> None:
    t = Trading()
    intent = t.place()
    answer, seen = t.took(intent, "1"), t.seen("1", "10", "FILLED")
    index = Index()
    stranger = index.route(seen)[0].order_key
    index.route(intent)
    index.route(answer)
    assert index.merged == {stranger: intent.record_id}
    assert index.route(seen)[0].order_key == intent.record_id


def test_what_was_learned_is_enough_for_the_next_batch() -> None:
    t = Trading()
    intent = t.place()
    answer, seen = t.took(intent, "1"), t.seen("1", "10", "FILLED")
    first = Index()
    first.route(intent)
    first.route(answer)
    assert Index(first.learned).route(seen)[0].order_key == intent.record_id


def test_one_id_on_two_symbols_is_two_orders() -> None:
    t = Trading()
    one, other = t.seen("5", "0", "NEW"), t.seen("5", "0", "NEW")
    call = msgspec.structs.replace(other.call, arguments={"id": "5", "symbol": "BTC/USDT:USDT"})
    other = msgspec.structs.replace(other, call=call, market=Market(symbol="BTC/USDT:USDT"))
    index = Index()
    assert index.route(one)[0].order_key != index.route(other)[0].order_key


def test_algo_ids_are_a_number_space_of_their_own() -> None:
    t = Trading()
    one, other = t.seen("5", "0", "NEW"), t.seen("5", "0", "NEW")
    algo = {"id": "5", "symbol": "MNT/USDT:USDT", "info": {"algoId": "5", "algoStatus": "NEW", "symbol": "MNTUSDT"}}
    other = msgspec.structs.replace(other, result={"orders": [algo]})
    index = Index()
    assert index.route(one)[0].order_key != index.route(other)[0].order_key


def test_each_attempt_is_an_order_of_its_own_until_more_is_known() -> None:
    t = Trading()
    index = Index()
    assert index.route(t.place())[0].order_key != index.route(t.place())[0].order_key


def test_an_id_quoted_by_an_error_is_no_proof() -> None:
    t = Trading()
    intent = t.place()
    refused = t.answer(intent, RecordKind.REJECTED, result={"id": "9", "info": {"orderId": "9"}})
    assert {alias.kind for mention in mentions(refused) for alias in mention.aliases} == {"intent"}


def test_a_report_and_an_unattributed_write_speak_of_no_order() -> None:
    t = Trading()
    intent = t.place()
    for kind in (RecordKind.REPORTED, RecordKind.UNATTRIBUTED):
        assert mentions(t.answer(intent, kind)) == ()


def test_only_an_acknowledged_cancel_all_has_a_scope() -> None:
    t = Trading()
    assert scope_of(t.place()) is None
    assert scope_of(t.took(t.place())) is None


def test_spellings_of_one_market() -> None:
    assert same_symbol("MNT/USDT:USDT", "MNTUSDT")
    assert same_symbol("", "MNTUSDT")
    assert not same_symbol("MNT/USDT:USDT", "MNT/USDT")
    assert not same_symbol("BTC/USDT:USDT", "MNTUSDT")


def test_an_alias_without_a_symbol_finds_the_order_of_that_id() -> None:
    t = Trading()
    intent = t.place()
    index = Index()
    index.route(intent)
    index.route(t.took(intent, "1"))
    known = {Alias(a.exchange, a.account, a.symbol, a.kind, a.value): k for a, k in index.learned.items()}
    seen = t.seen("1", "0", "NEW")
    call = msgspec.structs.replace(seen.call, arguments={"id": "1"})
    assert Index(known).route(msgspec.structs.replace(seen, call=call, market=None))[0].order_key == intent.record_id


def test_a_cancel_by_client_order_id_finds_its_order_by_the_answer() -> None:
    t = Trading()
    intent = t.place()
    cancel = t.cancel("1")
    by_name = msgspec.structs.replace(
        cancel,
        call=msgspec.structs.replace(cancel.call, arguments={"symbol": "MNT/USDT:USDT"}),
        request=msgspec.structs.replace(cancel.request, params="symbol=MNTUSDT&origClientOrderId=mine"),
    )
    index = Index()
    index.route(intent)
    index.route(t.took(intent, "1"))
    assert index.route(by_name) == ()
    answer = t.answer(by_name, result={"id": "1", "info": {"orderId": "1", "status": "CANCELED", "executedQty": "0"}})
    assert [route.order_key for route in index.route(answer)] == [intent.record_id]
