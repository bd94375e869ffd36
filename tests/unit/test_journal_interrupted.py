"""Signal handlers and Ctrl-C in the middle of an append: at every place where Python lets them in, one after the other."""

import dis
import errno
import functools
import inspect
import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType

import pytest
from journals import read_all

from audit_wrapper import journal as package
from audit_wrapper.errors import JournalUnavailable
from audit_wrapper.journal import FileJournal, What, chain, verify
from audit_wrapper.journal.writer import Writer

_CODE = (str(Path(package.__file__).parent), pathlib.__file__)

# Where Python (3.11 and later) looks for signals: when a function begins, after a call, at a jump backward.
_LETS_IN = ("RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD")


by_opcodes = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="Python 3.12 and later tell a trace function of fewer opcodes: see Python 3.11"
)


class AtPlace:
    """While it is entered, `do` is run at the nth place in the journal's code, or a path's, where a signal could come in."""

    def __init__(self, number: int, do: Callable[[], object]) -> None:
        self._left = number
        self._do = do
        self._before: dict[FrameType, str] = {}
        self.where = ""

    def __enter__(self) -> "AtPlace":
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        self._before.clear()

    def _called(self, frame: FrameType, event: str, _: object) -> object:
        if not frame.f_code.co_filename.startswith(_CODE) or frame.f_code.co_name == "__del__":
            return None  # the second: Python lets no exception out of it
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._traced

    def _traced(self, frame: FrameType, event: str, _: object) -> object:
        if event == "opcode":
            now = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            before = self._before.get(frame, "")
            self._before[frame] = now
            if before in _LETS_IN:
                self._left -= 1
                if self._left == 0:
                    self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}, behind {before}"
                    self._do()
        return self._traced


class Trade:
    """A journal of a few entries, and what was appended to it by whom."""

    def __init__(self, folder: Path, *, power: bool = False, segment_bytes: int = 1 << 20) -> None:
        self.journal = FileJournal.open(folder, durability="power" if power else "process", segment_bytes=segment_bytes)
        self.kept: dict[int, bytes] = {}
        self.patch = pytest.MonkeyPatch()
        self.perhaps: list[bytes] = []  # its append was broken off: there once, or not at all
        self.append(b"first")
        self.append(b"second")

    def append(self, payload: bytes) -> None:
        self.perhaps.append(payload)
        seq = self.journal.append(payload)
        assert seq not in self.kept, "a number was given twice"
        self.kept[seq] = self.perhaps.pop(self.perhaps.index(payload))

    def handle(self) -> None:
        try:
            self.append(b"from a signal handler")
        except JournalUnavailable:
            self.perhaps.remove(b"from a signal handler")  # it is not there

    def check(self, told: set[What] = frozenset()) -> None:  # type: ignore[assignment]
        self.patch.undo()
        self.journal._writer.look()
        assert {entry.seq: entry.payload for entry in read_all(self.journal)}.items() >= self.kept.items()
        self.append(b"next")
        self.journal.tend()
        self.append(b"last")
        entries = read_all(self.journal)
        assert [entry.seq for entry in entries] == [*range(1, len(entries) + 1)]
        there = {entry.seq: entry.payload for entry in entries}
        assert there.items() >= self.kept.items()
        more = [there[seq] for seq in there.keys() - self.kept.keys()]
        assert all(more.count(payload) <= self.perhaps.count(payload) for payload in more), "it is there twice"
        previous = None
        for entry in entries:
            assert not entry.damage
            assert previous is None or entry.hash == chain.link(previous, entry.seq, entry.payload)
            previous = entry.hash
        assert {finding.what for finding in self.journal.damage} <= told
        taken = threading.Thread(target=self.journal.append, args=(b"from another thread",), daemon=True)
        taken.start()
        taken.join(10)
        assert not taken.is_alive(), "a lock is held"
        self.journal.close()
        assert {finding.what for finding in verify(self.journal.folder)} <= told & {What.TORN_TAIL}
        with closing(FileJournal.open(self.journal.folder)) as again:
            assert again.durable_seq == len(entries) + 1


def plain(trade: Trade) -> None:
    trade.append(b"interrupted")


def after_one_that_was_broken_off(trade: Trade) -> None:
    """The line before it is there, and nobody has noted it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", _then(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trade.append(b"broken off")


def after_half_a_line(trade: Trade) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", _half_then(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trade.append(b"broken off")


def after_half_a_line_that_stays(trade: Trade) -> None:
    after_half_a_line(trade)

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    trade.patch.setattr(os, "ftruncate", refuse)


def _then(problem: type[BaseException]) -> Callable[[int, bytes], int]:
    def write(descriptor: int, text: bytes, real: Callable[[int, bytes], int] = os.write) -> int:
        real(descriptor, text)
        raise problem

    return write


def _half_then(problem: type[BaseException]) -> Callable[[int, bytes], int]:
    def write(descriptor: int, text: bytes, real: Callable[[int, bytes], int] = os.write) -> int:
        real(descriptor, text[:40])
        raise problem

    return write


def deleted(trade: Trade) -> None:
    trade.append(b"kept by the process")
    shutil.rmtree(trade.journal.folder)
    trade.journal._writer._look_at = 0.0


def nothing(trade: Trade) -> None:
    pass


SITUATIONS: dict[str, tuple[Callable[[Trade], None], dict[str, object], set[What]]] = {
    "an append": (nothing, {}, set()),
    "an append that begins a new file": (nothing, {"segment_bytes": 1}, set()),
    "an append that is forced to disk": (nothing, {"power": True}, set()),
    "an append that begins a new file, forced to disk": (nothing, {"power": True, "segment_bytes": 1}, set()),
    "an append after one that was broken off": (after_one_that_was_broken_off, {}, set()),
    "an append after half a line": (after_half_a_line, {}, set()),
    "an append after half a line that begins a new file": (after_half_a_line, {"segment_bytes": 1}, set()),
    "an append after half a line that cannot be cut off": (after_half_a_line_that_stays, {}, {What.TORN_TAIL}),
    "an append after the folder was deleted": (deleted, {}, {What.DELETED}),
}


def _break_off() -> None:
    raise KeyboardInterrupt


def in_a_thread_of_its_own(test: Callable[..., None]) -> Callable[..., None]:
    """An exception let in where Python leaves an `except` stays the thread's current one, and the next test's context."""

    @functools.wraps(test)
    def in_a_thread(**named: object) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(test, **named).result()

    return in_a_thread


@by_opcodes
@pytest.mark.parametrize("kind", ["a handler that appends", "Ctrl-C"])
@pytest.mark.parametrize("situation", SITUATIONS)
@in_a_thread_of_its_own
def test_wherever_it_comes_in(memory: Path, situation: str, kind: str) -> None:
    prepare, named, told = SITUATIONS[situation]
    number = 0
    while True:
        number += 1
        trade = Trade(memory / str(number), **named)  # type: ignore[arg-type]
        prepare(trade)
        at = AtPlace(number, trade.handle if kind == "a handler that appends" else _break_off)
        try:
            with at:
                trade.append(b"interrupted")
        except KeyboardInterrupt:
            pass
        except JournalUnavailable:
            trade.perhaps.remove(b"interrupted")  # it is not there
        try:
            trade.check(told)
        except BaseException as problem:
            problem.add_note(f"place {number}: {at.where}")
            raise
        shutil.rmtree(trade.journal.folder)
        if not at.where:
            break
    assert number > 8, "it does come in"


@by_opcodes
@in_a_thread_of_its_own
def test_a_file_that_ctrl_c_kept_from_being_noted_is_read_when_others_have_followed(memory: Path) -> None:
    number, at = 0, AtPlace(0, _break_off)
    while at.where or not number:
        number += 1
        trade = Trade(memory / str(number), segment_bytes=1)
        at = AtPlace(number, _break_off)
        with suppress(KeyboardInterrupt), at:
            trade.append(b"interrupted")
        trade.append(b"one more")
        trade.append(b"and another")
        entries = {entry.seq: entry.payload for entry in read_all(trade.journal)}
        assert entries.items() >= trade.kept.items(), at.where
        trade.journal.close()
        shutil.rmtree(trade.journal.folder)


def test_handlers_in_the_middle_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comes when the line of the one before is written and not yet noted."""
    trade = Trade(tmp_path)
    depth = 0
    write = os.write

    def interrupted(descriptor: int, text: bytes) -> int:
        nonlocal depth
        written = write(descriptor, text)
        if depth < 5:
            depth += 1
            trade.handle()
        return written

    monkeypatch.setattr(os, "write", interrupted)
    trade.append(b"interrupted")
    assert sorted(trade.kept) == [*range(1, 9)]
    trade.check()


@pytest.mark.parametrize("turns", [False, True])
def test_a_call_that_the_system_begins_anew_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: bool
) -> None:
    """Some file systems let signals into a write: Python runs the handler, and calls again."""
    trade = Trade(tmp_path)
    write, came = os.write, False

    def interrupted(descriptor: int, text: bytes) -> int:
        nonlocal came
        if not came:
            came = True
            if turns:
                trade.journal._writer._full_at = 0
            trade.handle()
        return write(descriptor, text)

    monkeypatch.setattr(os, "write", interrupted)
    trade.append(b"interrupted")
    trade.check()


def test_a_handler_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = Trade(tmp_path)
    write, came = os.write, False

    def interrupted(descriptor: int, text: bytes) -> int:
        nonlocal came
        if came:
            return write(descriptor, text)
        came = True
        written = write(descriptor, text[:50])
        trade.handle()
        return written

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(JournalUnavailable, match="only 50 of"):
        trade.append(b"interrupted")
    trade.check()


@by_opcodes
@pytest.mark.parametrize("durability", ["process", "power"])
@in_a_thread_of_its_own
def test_a_handler_may_close_the_journal_in_the_middle_of_an_append(memory: Path, durability: str) -> None:
    """And then nothing is written to the number of its file, which may be somebody else's by then."""
    number = 0
    while True:
        number += 1
        trade = Trade(memory / str(number), power=durability == "power")
        descriptor = trade.journal._writer.end.segment.descriptor
        other = memory / "other"
        taken: list[int] = []

        def close(trade: Trade = trade, descriptor: int = descriptor, taken: list[int] = taken) -> None:
            trade.journal.close()
            taken.append(os.open(other, os.O_CREAT | os.O_WRONLY))  # noqa: B023
            os.dup2(taken[0], descriptor)  # as the next file that is opened might get it

        refused = False
        with AtPlace(number, close) as at:
            try:
                trade.append(b"interrupted")
            except JournalUnavailable as problem:
                refused = "was closed" in str(problem)
                assert refused
        assert other.read_bytes() == b"" if other.exists() else not at.where
        for one in {*taken, descriptor} if taken else set():
            os.close(one)
        if not at.where:
            trade.journal.close()
        assert list(verify(trade.journal.folder)) == [], at.where
        journal = FileJournal.open(trade.journal.folder)
        assert journal.durable_seq == (2 if refused else 3), at.where
        journal.close()
        if not at.where:
            break


def test_python_lets_nothing_in_between_the_last_look_and_the_write() -> None:
    """What the writer counts on, looked up in its own code: see the text at the top of `writer`."""
    instructions = list(dis.get_instructions(Writer._append))
    (write,) = (index for index, one in enumerate(instructions) if one.argval == "write")
    noted = max(
        index
        for index in range(write)
        if (instructions[index].opname, instructions[index].argval) == ("STORE_ATTR", "_begun")
    )
    looked = max(index for index in range(noted) if instructions[index].opname == "IS_OP")
    call = next(index for index in range(write, len(instructions)) if instructions[index].opname.startswith("CALL"))
    assert not {one.opname for one in instructions[noted + 1 : call]} & {*_LETS_IN}
    # The jump backward in between is that of who has found that somebody came in.
    assert not {one.opname for one in instructions[looked + 1 : noted]} & ({*_LETS_IN} - {"JUMP_BACKWARD"})
    assert "if self.end is not before or self._begun is not None" in inspect.getsource(Writer._append)


def test_two_threads_and_handlers_that_force_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread forces, a second one begins a new file, and a handler on the first one appends."""
    journal = FileJournal.open(tmp_path, durability="power", segment_bytes=1)
    journal.append(b"first")
    from audit_wrapper.journal import layout

    force, main, state = layout.force, threading.get_ident(), {"handled": False}
    other = threading.Thread(target=journal.append, args=(b"from another thread",), daemon=True)

    def forced(descriptor: int) -> None:
        force(descriptor)
        if threading.get_ident() == main and not state["handled"] and journal._writer._forcing._is_owned():  # type: ignore[attr-defined]
            state["handled"] = True
            other.start()
            journal.append(b"from a handler")

    monkeypatch.setattr(layout, "force", forced)
    done = threading.Event()

    def watch() -> None:
        if not done.wait(20):
            os.write(2, b"the threads wait for each other\n")
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    journal.append(b"second")
    other.join()
    done.set()
    assert state["handled"]
    assert {entry.payload for entry in read_all(journal)} == {
        b"first",
        b"second",
        b"from a handler",
        b"from another thread",
    }
    journal.close()


@pytest.mark.parametrize("use", ["read", "tend", "branch", "close"])
def test_nobody_waits_for_an_append_while_he_reads(tmp_path: Path, use: str) -> None:
    """A handler that closes the trail in the middle of an append waits for the reader; so the reader may not wait."""
    journal = FileJournal.open(tmp_path)
    journal.append(b"x")
    uses: dict[str, Callable[[], object]] = {
        "read": lambda: journal.read(0, 10),
        "tend": journal.tend,
        "branch": lambda: journal.branch(0),
        "close": journal.close,
    }
    with journal._writer.lock:
        waits = threading.Thread(target=uses[use], daemon=True)
        waits.start()
        waits.join(0.05)  # by now it has begun
        assert journal._shelf.reading.acquire(timeout=10), "it waits for an append, and lets nobody read"
        journal._shelf.reading.release()
    waits.join(10)
    assert not waits.is_alive()
    journal.close()


def test_a_full_disk_in_the_middle_of_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line, which cannot be cut off, and no new file: whoever comes is refused, until one of them goes."""
    trade = Trade(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as context:
        context.setattr(os, "write", _half_then(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trade.append(b"interrupted")
    with monkeypatch.context() as context:
        context.setattr(os, "ftruncate", refuse)
        context.setattr(package.layout, "put", refuse)
        for _ in range(3):
            with pytest.raises(JournalUnavailable):
                trade.append(b"refused")
    trade.perhaps.clear()
    trade.check()
