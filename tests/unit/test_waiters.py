"""Those who wait for records to be delivered."""

from __future__ import annotations

import threading

from audit_wrapper.waiters import Waiters


def test_each_is_released_with_its_number_and_not_before() -> None:
    waiters = Waiters()
    first, second, again = waiters.add(3), waiters.add(5), waiters.add(3)
    waiters.release(2)
    assert not any(one.done() for one in (first, second, again))
    waiters.release(4)
    assert first.done()
    assert again.done()
    assert not second.done()
    assert waiters
    waiters.release(5)
    assert second.result(0) is None
    assert not waiters


def test_what_is_waited_for() -> None:
    waiters = Waiters()
    assert (waiters.furthest, waiters.any_at(10)) == (0, False)
    waiters.add(7)
    waiters.add(4)
    assert waiters.furthest == 7
    assert waiters.any_at(4)
    assert not waiters.any_at(3)


def test_all_are_released_when_nothing_will_be_reached_any_more() -> None:
    waiters = Waiters()
    waiting = [waiters.add(seq) for seq in (1, 2**63)]
    waiters.release()
    assert all(one.done() for one in waiting)


def test_one_that_was_canceled_is_left_alone() -> None:
    waiters = Waiters()
    left, stays = waiters.add(1), waiters.add(1)
    assert left.cancel()
    waiters.release(1)
    assert left.cancelled()
    assert stays.done()


def test_threads_may_add_and_release_at_once() -> None:
    waiters = Waiters()
    waiting = []

    def add() -> None:
        waiting.extend(waiters.add(seq) for seq in range(500))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        waiters.release(499)
    waiters.release(499)
    assert len(waiting) == 2_000
    assert all(one.done() for one in waiting)
    assert not waiters
