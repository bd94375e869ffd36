"""The journal under real process death, a second process, and fork."""

import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

import audit_wrapper
from audit_wrapper.errors import JournalInUse
from audit_wrapper.journal import FileJournal, Finding, What
from audit_wrapper.journal import verify as verify_all

ROOT = Path(audit_wrapper.__file__).parents[1]
KILLS = 3  # for each durability

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


def verify(folder: Path) -> list[Finding]:
    """What is wrong; a kill may cut the last write short, and no append had returned for that."""
    return [finding for finding in verify_all(folder) if finding.what is not What.TORN_TAIL]


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
        assert not findings, f"seed {seed}, kill {kill}: {findings}"
        with closing(FileJournal.open(tmp_path)) as journal:
            assert journal.durable_seq in (told, told + 1), f"seed {seed}, kill {kill}"
            assert not [f for f in journal.damage if f.what is not What.TORN_TAIL], f"seed {seed}, kill {kill}"
            found, after = 0, 0
            while part := journal.read(after, 1000):
                found, after = found + len(part), part[-1].seq
            assert found == after == journal.durable_seq, f"seed {seed}, kill {kill}"
            told = journal.durable_seq
    assert list(verify(tmp_path)) == []


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
    assert list(verify(tmp_path)) == []


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
