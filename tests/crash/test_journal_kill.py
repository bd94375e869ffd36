"""The journal under real process death, a second process, fork, signals and Ctrl-C."""

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import audit_wrapper
from audit_wrapper.errors import JournalInUse
from audit_wrapper.journal import FileJournal, What, layout, verify

ROOT = Path(audit_wrapper.__file__).parents[1]
KILLS = 3  # for each durability
TORN = {What.TORN_TAIL}  # no loss: the system writes a long line page by page, and nobody was told of this one

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and fork are POSIX")

WRITER = """
    import os, random, sys, threading
    from pathlib import Path
    from audit_wrapper.journal import FileJournal

    folder, durability, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rng = random.Random(seed)
    journal = FileJournal.open(folder, durability=durability, segment_bytes=60_000)

    def tend():
        while True:
            journal.read(max(0, journal.durable_seq - 50), 50)
            journal.tend()

    threading.Thread(target=tend, daemon=True).start()
    while True:
        seq = journal.append(rng.randbytes(rng.choice((10, 300, 1000, 9000))).replace(b"\\n", b" "))
        os.write(1, seq.to_bytes(8, "big"))  # said before the next append begins
"""


def start(script: str, *arguments: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


@pytest.mark.parametrize("durability", ["process", "power"])
def test_every_append_that_returned_survives_kill_9(tmp_path: Path, durability: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    told = 0
    for kill in range(KILLS):
        with start(WRITER, tmp_path, durability, rng.randrange(1 << 32)) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            told_now = child.stdout.read(8)
            assert told_now, child.stderr.read().decode()
            time.sleep(rng.uniform(0, 0.15))  # the random moment: not a wait for anything
            child.kill()
            rest = child.stdout.read()
            assert child.wait() == -signal.SIGKILL
        numbers = [number for (number,) in struct.iter_unpack(">Q", told_now + rest[: len(rest) // 8 * 8])]
        assert numbers[0] == told + 1 or numbers[0] == told + 2, f"seed {seed}, kill {kill}"  # one was not told
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), f"seed {seed}, kill {kill}"
        told = numbers[-1]
        findings = list(verify(tmp_path))
        assert {finding.what for finding in findings} <= TORN, f"seed {seed}, kill {kill}: {findings}"
        with closing(FileJournal.open(tmp_path)) as journal:
            assert journal.durable_seq in (told, told + 1), f"seed {seed}, kill {kill}"
            assert {finding.what for finding in journal.damage} <= TORN, f"seed {seed}, kill {kill}"
            found, after = 0, 0
            while part := journal.read(after, 1000):
                found, after = found + len(part), part[-1].seq
            assert found == after == journal.durable_seq, f"seed {seed}, kill {kill}"
            told = journal.durable_seq


# -- killed before every single thing that is done to the disk, and in the middle of every write


class Killed:
    """A child that lives a story, and dies before the nth operation, or with half of the nth write done."""

    def __init__(self, story: Callable[["Killed"], None], folder: Path, number: int, how: str) -> None:
        self.folder = folder
        self.told: list[int] = []
        reading, self._writing = os.pipe()
        self._write = os.write
        pid = os.fork()
        if pid == 0:
            try:
                self._intercept(number, how)
                story(self)
            finally:
                os._exit(3)  # alive: there was no such operation, unless it printed why
        os.close(self._writing)
        with open(reading, "rb") as pipe:
            said = pipe.read()
        status = os.waitpid(pid, 0)[1]
        self.was_killed = os.WIFSIGNALED(status)
        assert self.was_killed or said.endswith(b"done"), "the story itself failed"
        self.where, _, said = said.partition(b"\n")
        said = said.removesuffix(b"done")
        self.told = [number for (number,) in struct.iter_unpack(">Q", said)]

    def say(self, seq: int) -> None:
        self.told.append(seq)

    def _intercept(self, number: int, how: str) -> None:
        left = number

        def between(name: str, real: Callable[..., object]) -> Callable[..., object]:
            def called(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= how == "before" or name == "write"
                if left or (how == "halfway" and name != "write"):
                    return real(*arguments, **named)
                if how == "halfway":
                    descriptor, text = arguments
                    self._write(descriptor, text[: len(text) // 2])  # type: ignore[arg-type, index]
                self._die(name)

            return called

        for name in ("open", "write", "fsync", "ftruncate", "replace", "unlink", "mkdir"):
            setattr(os, name, between(name, getattr(os, name)))

    def _die(self, where: str) -> None:
        self._tell(where.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def _tell(self, where: bytes) -> None:
        self._write(self._writing, where + b"\n" + struct.pack(f">{len(self.told)}Q", *self.told))

    def done(self) -> None:
        self._tell(b"nowhere")
        self._write(self._writing, b"done")

    def open(self, **named: object) -> FileJournal:
        return FileJournal.open(self.folder, segment_bytes=1_500, keep_delivered_s=0, **named)  # type: ignore[arg-type]


def append(child: Killed, journal: FileJournal, count: int) -> None:
    for _ in range(count):
        seq = journal.durable_seq + 1
        assert journal.append(entry(seq)) == seq
        child.say(seq)


def entry(seq: int) -> bytes:
    return b"entry %d " % seq * 30


def tend(journal: FileJournal) -> None:
    journal._upkeep._state_at = 0.0  # the side file is due
    journal.tend()


def first_run(child: Killed) -> None:
    journal = child.open()
    append(child, journal, 8)
    journal.close()
    child.done()


def first_run_with_power(child: Killed) -> None:
    journal = child.open(durability="power")
    append(child, journal, 8)
    journal.close()
    child.done()


def housekeeping(child: Killed) -> None:
    journal = child.open()
    append(child, journal, 12)
    journal.delivered(9)
    tend(journal)
    append(child, journal, 2)
    journal.branch(10)
    append(child, journal, 2)
    tend(journal)
    journal.close()
    child.done()


def second_run(child: Killed) -> None:
    """Beginning with half a line that an earlier kill left, and a file that was being made."""
    journal = child.open()
    append(child, journal, 5)
    journal.disown()  # as if the process had died
    last = layout.segment_paths(child.folder)[-1]
    with open(last, "ab") as file:
        file.write(b"6 0123")
    last.with_name(last.name + layout.UNBORN).write_bytes(b"x")
    journal = child.open()
    append(child, journal, 5)
    journal.close()
    child.done()


def restored(child: Killed) -> None:
    journal = child.open()
    append(child, journal, 12)
    shutil.rmtree(child.folder)
    journal.tend()
    append(child, journal, 2)
    journal.close()
    child.done()


@pytest.mark.parametrize("how", ["before", "halfway"])
@pytest.mark.parametrize("story", [first_run, first_run_with_power, housekeeping, second_run, restored])
def test_killed_at_every_single_operation(
    memory: Path, monkeypatch: pytest.MonkeyPatch, story: Callable[[Killed], None], how: str
) -> None:
    monkeypatch.setattr(sys.modules["audit_wrapper.journal.verify"], "_LOOK_S", 0.0)  # nobody writes any more
    number = 0
    while True:
        number += 1
        folder = memory / str(number) / "journal"
        folder.parent.mkdir()
        child = Killed(story, folder, number, how)
        about = f"{how} operation {number}, {child.where.decode()}"
        told_to_be_wrong = TORN | ({What.GAP, What.DELETED} if story is restored else set())
        if folder.exists():
            findings = {finding.what for finding in verify(folder)}
            assert findings <= told_to_be_wrong, about
        with closing(FileJournal.open(folder)) as journal:
            entries = {one.seq: one for one in journal.read(0, 1000)}
            wanted = {seq for seq in child.told if story is not housekeeping or seq > 9}
            if story is restored and child.was_killed:  # what somebody deleted is back once it was tended
                wanted &= {13, 14}
            assert wanted <= set(entries), about
            assert all(one.payload == entry(seq) and not one.damage for seq, one in entries.items()), about
            assert {finding.what for finding in journal.damage} <= told_to_be_wrong, about
            assert journal.append(b"on") > max(entries, default=0), about
            assert journal.read(journal.durable_seq - 1, 10)[0].payload == b"on", about
        if not child.was_killed:
            break
        shutil.rmtree(folder.parent)
    assert number > 8


# -- beside others


def test_a_second_process_is_told_who_has_it_and_verify_works_beside_it(tmp_path: Path) -> None:
    with start(WRITER, tmp_path, "process", 1) as child:
        assert child.stdout is not None
        assert child.stdout.read(8)
        with pytest.raises(JournalInUse, match=f"process {child.pid}"):
            FileJournal.open(tmp_path)
        for _ in range(3):
            assert child.stdout.read(8 * 100)  # it goes on writing
            assert list(verify(tmp_path)) == []
        child.kill()
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.durable_seq > 300
    assert {finding.what for finding in verify(tmp_path)} <= TORN


FORKER = """
    import os, sys, threading
    from pathlib import Path
    from audit_wrapper.errors import JournalUnavailable
    from audit_wrapper.journal import FileJournal

    folder = Path(sys.argv[1])
    journal = FileJournal.open(folder, segment_bytes=30_000)
    stop = threading.Event()

    def trade():
        while not stop.is_set():
            journal.append(b"x" * 500)
            journal.read(max(0, journal.durable_seq - 20), 20)
            journal.tend()

    threads = [threading.Thread(target=trade) for _ in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(6):
        seen = journal.durable_seq
        while journal.durable_seq < seen + 5:
            pass
        pid = os.fork()
        if pid == 0:
            for use in (lambda: journal.append(b"child"), lambda: journal.read(0, 1), journal.tend):
                try:
                    use()
                except JournalUnavailable as problem:
                    assert "another folder" in str(problem)
                else:
                    os._exit(9)
            journal.close()
            own = FileJournal.open(folder / f"child-{number}")
            assert own.append(b"child") == 1
            own.close()
            sys.exit(0)  # a whole interpreter shutdown, which closes what it finds
        children.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    stop.set()
    for thread in threads:
        thread.join()
    last = journal.append(b"last")
    print(statuses, last, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_forked_child_cannot_harm_the_journal_of_its_parent(tmp_path: Path) -> None:
    with start(FORKER, tmp_path) as parent:
        out, problems = parent.communicate(timeout=60)
    assert parent.returncode == -signal.SIGKILL, problems.decode()
    statuses, last = out.decode().rsplit(maxsplit=1)
    assert statuses == str([0] * 6), problems.decode()
    assert list(verify(tmp_path)) == []
    with closing(FileJournal.open(tmp_path)) as journal:
        assert journal.durable_seq == int(last)
        assert journal.read(int(last) - 1, 1)[0].payload == b"last"


ORPHAN = """
    import os, sys
    from pathlib import Path
    from audit_wrapper.journal import FileJournal

    journal = FileJournal.open(Path(sys.argv[1]))
    journal.append(b"x")
    if os.fork() == 0:
        os.write(1, b"child")
        sys.stdin.read()  # lives on until the test ends it
        os._exit(0)
    os.kill(os.getpid(), 9)
"""


def test_a_child_that_outlives_the_bot_does_not_keep_the_lock(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ORPHAN), str(tmp_path)],
        stdin=reading,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        assert parent.wait() == -signal.SIGKILL
        assert parent.stdout.read(5) == b"child"
        with closing(FileJournal.open(tmp_path)) as journal:
            assert journal.append(b"y") == 2
        os.close(writing)
    os.close(reading)


SIGNALLED = """
    import os, signal, sys, threading
    from pathlib import Path
    from audit_wrapper.journal import FileJournal, verify

    journal = FileJournal.open(Path(sys.argv[1]))
    in_handler = []
    signal.signal(signal.SIGALRM, lambda *_: in_handler.append(journal.append(b"close the position")))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    outside = [journal.append(b"x" * 200) for _ in range(5_000)]
    signal.setitimer(signal.ITIMER_REAL, 0, 0)
    numbers = sorted(outside + in_handler)
    assert in_handler, "no signal came"
    assert numbers == list(range(1, len(numbers) + 1)), "a number was given twice or not at all"
    assert journal.durable_seq == len(numbers)
    assert journal.damage == ()
    journal.close()
    findings = list(verify(Path(sys.argv[1])))
    assert not findings, findings
    print("sound", flush=True)
"""


def test_a_signal_handler_may_append_in_the_middle_of_an_append(tmp_path: Path) -> None:
    with start(SIGNALLED, tmp_path) as child:
        out, problems = child.communicate(timeout=60)
    assert out.strip() == b"sound", problems.decode()


BROKEN_OFF = """
    import os, random, signal, sys, threading
    from pathlib import Path
    from audit_wrapper.journal import FileJournal, verify

    folder, seed, durability = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    chance = random.Random(seed)
    journal = FileJournal.open(folder, segment_bytes=20_000, durability=durability)
    armed = False

    def interrupt(*_):
        if armed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    stop = threading.Event()

    def deliver():
        after = 0
        while not stop.is_set():
            for entry in journal.read(after, 100):
                assert entry.seq == after + 1 and not entry.damage
                after = entry.seq
            journal.tend()

    other = threading.Thread(target=deliver, daemon=True)
    other.start()
    returned, perhaps = {}, set()
    for number in range(int(sys.argv[4])):
        payload = b"%d " % number * chance.choice((3, 30, 300))
        perhaps.add(payload)
        try:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 60e-6))
                while True:  # until it is hit, in an append or between two
                    perhaps.add(payload)
                    seq = journal.append(payload)
                    returned[seq] = payload
                    perhaps.discard(payload)
                    payload += b"+"
            finally:
                armed = False
        except KeyboardInterrupt:
            pass
    stop.set()
    other.join()
    last = journal.append(b"last")
    there, after = {}, 0
    while portion := journal.read(after, 1000):
        for entry in portion:
            assert not entry.damage and entry.seq == after + 1, (seed, entry.seq, after)
            there[entry.seq] = entry.payload
            after = entry.seq
    assert after == last
    assert returned.items() <= there.items(), (seed, "an append returned, and its entry is not there")
    more = [there[seq] for seq in there.keys() - returned.keys() - {last}]
    assert len(set(more)) == len(more), (seed, "an entry is there twice")
    assert not set(more) & set(returned.values()), (seed, "an entry is there twice")
    assert set(more) <= perhaps, (seed, "an entry that nobody appended")
    assert journal.damage == (), (seed, journal.damage)
    journal.close()
    findings = list(verify(folder))
    assert not findings, (seed, findings)
    print("sound", len(there), len(more), flush=True)
"""


@pytest.mark.parametrize(("durability", "times"), [("process", 3_000), ("power", 300)])
def test_ctrl_c_at_any_moment_of_an_append(tmp_path: Path, durability: str, times: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    with start(BROKEN_OFF, tmp_path, seed, durability, times) as child:
        out, problems = child.communicate(timeout=60)
    assert out.startswith(b"sound"), f"seed {seed}: {problems.decode()}"


CLOSED = """
    import os, random, signal, sys, threading
    from pathlib import Path
    from audit_wrapper.errors import JournalUnavailable
    from audit_wrapper.journal import FileJournal, verify

    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    kept = 0
    for run in range(60):
        journal = FileJournal.open(folder, segment_bytes=5_000)
        assert journal.durable_seq == kept or journal.durable_seq == kept + 1, (seed, run)
        kept = journal.durable_seq
        stop = threading.Event()

        def deliver():
            try:
                while not stop.is_set():
                    journal.read(max(0, journal.durable_seq - 20), 20)
                    journal.tend()
            except JournalUnavailable:
                pass

        other = threading.Thread(target=deliver, daemon=True)
        other.start()
        signal.signal(signal.SIGALRM, lambda *_: journal.close())
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 2e-3))
        try:
            while True:
                kept = journal.append(b"x" * 300)
        except JournalUnavailable as problem:
            assert "closed" in str(problem), problem
        stop.set()
        other.join()
        assert journal.damage == ()
    findings = list(verify(folder))
    assert not findings, (seed, findings)
    print("sound", kept, flush=True)
"""


def test_a_signal_handler_may_close_the_journal_in_the_middle_of_anything(tmp_path: Path) -> None:
    """As a bot that is told to stop does. Nobody waits for anybody for ever."""
    seed = random.SystemRandom().randrange(1 << 32)
    with start(CLOSED, tmp_path, seed) as child:
        out, problems = child.communicate(timeout=60)
    assert out.startswith(b"sound"), f"seed {seed}: {problems.decode()}"
