"""A disk that is full, read-only, broken or gone under a journal, and comes back."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from journals import read_all

import audit_wrapper
from audit_wrapper.errors import JournalInUse, JournalUnavailable
from audit_wrapper.journal import FileJournal, What, layout, shelf, verify
from audit_wrapper.journal.state import read_state

SAYS_WHAT_TO_DO = "cannot be written.*see that the disk has room and the folder is there and writable"


class Account:
    """What was asked of a journal, and what it said: each append that returned is there, and no other."""

    def __init__(self, journal: FileJournal) -> None:
        self.journal = journal
        self.kept: dict[int, bytes] = {}
        self._asked = 0

    def ask(self, size: int = 300) -> int:
        self._asked += 1
        payload = b"entry %d " % self._asked + b"x" * size
        seq = self.journal.append(payload)
        assert seq not in self.kept
        self.kept[seq] = payload
        return seq

    def refused(self, size: int = 300, match: str = SAYS_WHAT_TO_DO) -> None:
        with pytest.raises(JournalUnavailable, match=match):
            self.ask(size)

    def check(self) -> None:
        entries = read_all(self.journal)
        assert {entry.seq: entry.payload for entry in entries} == self.kept
        assert not any(entry.damage for entry in entries)
        assert list(self.kept) == sorted(self.kept) == list(range(1, len(self.kept) + 1))

    def check_after_restart(self, *, torn: bool = False) -> None:
        folder = self.journal.folder
        self.check()
        self.journal.close()
        allowed = {What.TORN_TAIL} if torn else set()
        assert {finding.what for finding in verify(folder)} <= allowed
        with closing(FileJournal.open(folder)) as self.journal:
            self.check()
            self.ask()
            self.check()
            assert {finding.what for finding in self.journal.damage} <= allowed


def make_due(journal: FileJournal, *, delivered: int) -> None:
    """Have something to say in the side file, and be allowed to say it now."""
    journal.delivered(delivered)
    journal._upkeep._state_at = 0.0


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with closing(FileJournal.open(tmp_path / "journal", segment_bytes=3_000)) as journal:
        yield Account(journal)


# -- a real disk of its own


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True)
    if not made or made.returncode != 0:
        pytest.skip("this test mounts a small disk, and may not: run it as root, with `mount`, outside of a sandbox")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    account = Account(FileJournal.open(small_disk / "journal", segment_bytes=20_000))
    with suppress(JournalUnavailable):
        while True:
            account.ask(1_000)
    kept = len(account.kept)
    assert kept > 50
    account.refused(1_000, SAYS_WHAT_TO_DO.replace("cannot be written", r"cannot be written.*(space|taken)"))
    account.check()
    make_due(account.journal, delivered=10)
    with pytest.raises(JournalUnavailable, match="nothing is lost"):
        account.journal.tend()
    remount(small_disk, "size=512k")
    account.journal.tend()
    for _ in range(50):
        account.ask(1_000)
    account.check_after_restart()


def test_a_disk_that_becomes_full_and_has_room_for_small_entries(small_disk: Path) -> None:
    account = Account(FileJournal.open(small_disk / "journal"))
    for size in (60_000, 40_000, 40_000, 20_000, 10_000, 5_000, 3_000, 2_000, 1_000, 500, 300, 100, 10):
        with suppress(JournalUnavailable):
            account.ask(size)
            account.check()
    assert len(account.kept) > 3
    account.check()
    account.journal.close()
    remount(small_disk, "size=256k")
    with closing(FileJournal.open(small_disk / "journal")) as account.journal:
        account.check()


def reopen(descriptor: int, path: Path, flags: int) -> None:
    other = os.open(path, flags)
    os.dup2(other, descriptor)
    os.close(other)


def test_a_disk_that_is_remounted_read_only(small_disk: Path) -> None:
    with closing(FileJournal.open(small_disk / "earlier")) as earlier:
        earlier.append(b"x")
    account = Account(FileJournal.open(small_disk / "journal"))
    account.ask()
    # A file that is open for writing keeps the disk from being made read-only; an error of the disk does not ask.
    segment = account.journal._writer.end.segment
    reopen(segment.descriptor, segment.path, os.O_RDONLY)
    account.journal._lock.release()
    remount(small_disk, "ro")
    account.refused()
    account.refused()
    make_due(account.journal, delivered=1)
    with pytest.raises(JournalUnavailable, match="Read-only"):
        account.journal.tend()
    account.check()
    with pytest.raises(JournalUnavailable, match="make it writable"):
        FileJournal.open(small_disk / "earlier")
    assert list(verify(small_disk / "journal")) == []
    remount(small_disk, "rw")
    reopen(segment.descriptor, segment.path, os.O_WRONLY | os.O_APPEND)
    account.ask()
    account.check_after_restart()


# -- a limit of the process


LIMITED = """
    import resource, sys
    from pathlib import Path
    from audit_wrapper.errors import JournalUnavailable
    from audit_wrapper.journal import FileJournal, verify

    folder = Path(sys.argv[1])
    journal = FileJournal.open(folder, segment_bytes=1_000_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    kept = []
    refused = 0
    for n in range(300):
        payload = b"%d " % n * 400
        if n % 50 == 49:
            payload *= 50
        try:
            assert journal.append(payload) == len(kept) + 1
            kept.append(payload)
        except JournalUnavailable as problem:
            assert "see that the disk has room" in str(problem)
            refused += 1
    assert [entry.payload for entry in journal.read(0, 1000)] == kept, "no more and no less than what was taken"
    journal.close()
    findings = list(verify(folder))
    assert not findings, findings
    print(len(kept), refused)
"""


def test_files_that_may_not_grow_are_followed_by_others(tmp_path: Path) -> None:
    """ulimit -f: the entry that does not fit is refused, the next one goes into a new file."""
    script = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path)]
    ran = subprocess.run(
        script, capture_output=True, text=True, cwd=Path(audit_wrapper.__file__).parents[1], timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    kept, refused = map(int, ran.stdout.split())
    assert kept + refused == 300
    assert kept > 250
    assert refused >= 6  # the large ones


# -- faults of single calls


class Fault:
    """Replaces a call of `os`, for the file being written only, while `on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, journal: FileJournal, call: str, do: Callable[..., object]):
        self.on = True
        self.hits = 0
        self._real = getattr(os, call)
        self._journal = journal
        self._do = do
        monkeypatch.setattr(os, call, self)

    def __call__(self, descriptor: int, *arguments: object) -> object:
        if not self.on or descriptor != self._journal._writer.end.segment.descriptor:
            return self._real(descriptor, *arguments)
        self.hits += 1
        return self._do(self._real, descriptor, *arguments)


def _error(number: int) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


def _after(taken: int, number: int | None) -> Callable[..., object]:
    """Takes some bytes, and then says so, or fails."""

    def write(real: Callable[..., int], descriptor: int, text: bytes) -> int:
        written = real(descriptor, text[:taken])
        if number is not None:
            raise OSError(number, os.strerror(number))
        return written

    return write


WRITE_FAULTS = {
    "EIO": _error(errno.EIO),
    "ENOSPC": _error(errno.ENOSPC),
    "EDQUOT": _error(errno.EDQUOT),
    "takes one byte": _after(1, None),
    "takes the number": _after(3, None),
    "takes half": _after(150, None),
    "takes all but the line feed": _after(-1, None),
    "takes nothing and says so": _after(0, None),
    "takes half and fails": _after(150, errno.EIO),
}
CUT_FAULTS = {"can be cut": None, "cannot be cut": _error(errno.EPERM), "cannot be cut either": _error(errno.EIO)}


@pytest.mark.parametrize("cut", CUT_FAULTS)
@pytest.mark.parametrize("write", WRITE_FAULTS)
@pytest.mark.parametrize("other_files", ["go", "do not go"])
def test_what_was_refused_is_not_there_and_what_returned_is(
    account: Account, monkeypatch: pytest.MonkeyPatch, write: str, cut: str, other_files: str
) -> None:
    account.ask()
    account.ask()
    cutting = None
    if (do := CUT_FAULTS[cut]) is not None:
        cutting = Fault(monkeypatch, account.journal, "ftruncate", do)
    writing = Fault(monkeypatch, account.journal, "write", WRITE_FAULTS[write])
    with monkeypatch.context() as context:
        if other_files == "do not go":
            context.setattr(layout, "put", _error(errno.ENOSPC))
        for _ in range(5):
            account.refused()
            account.check()
        assert writing.hits >= 1
        writing.on = False
        if other_files == "do not go" and cutting is not None and writing._do in map(WRITE_FAULTS.get, _TEARING):
            account.refused()  # nothing may be written behind half a line
    if cutting is not None:
        cutting.on = False
    for _ in range(20):  # several files
        account.ask()
    account.check_after_restart(torn=cutting is not None)


def test_what_is_there_is_not_refused_whatever_the_system_says(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could come to be there twice."""
    Fault(monkeypatch, account.journal, "ftruncate", _error(errno.EPERM))
    Fault(monkeypatch, account.journal, "write", _after(1 << 20, errno.EIO))
    for _ in range(20):
        account.ask()
    account.check_after_restart()


_TEARING = [name for name in WRITE_FAULTS if name.startswith("takes ") and "nothing" not in name]


def test_a_file_that_can_only_be_appended_to(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.ask()
    chattr = shutil.which("chattr")
    path = account.journal._writer.end.segment.path
    if not chattr or subprocess.run([chattr, "+a", path], capture_output=True).returncode != 0:
        pytest.skip("the disk has no `chattr +a`, or it may not be set")
    try:
        with monkeypatch.context() as context:
            Fault(context, account.journal, "write", _after(100, None))
            account.refused()
        account.ask()
        assert path.read_bytes()[-1:] != b"\n", "half a line stays, and nothing is written behind it"
        account.check()
    finally:
        subprocess.run([chattr, "-a", path], check=True)
    account.check_after_restart(torn=True)


def test_a_full_disk_at_the_beginning_of_a_new_file_is_no_reason_to_refuse(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open has room yet, perhaps: rather a file that is too long than no entry."""
    put = layout.put

    def full(path: Path, content: bytes, *, lasting: bool) -> None:
        if path.name != layout.STATE:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(path, content, lasting=lasting)

    monkeypatch.setattr(layout, "put", full)
    for _ in range(30):
        account.ask()
    assert len(layout.segment_paths(account.journal.folder)) == 1
    monkeypatch.undo()
    for _ in range(30):
        account.ask()
    assert len(layout.segment_paths(account.journal.folder)) > 3
    account.check_after_restart()


@pytest.mark.parametrize("fails", ["open to append", "open to read"])
def test_no_file_is_left_that_was_begun_in_vain(account: Account, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """Its name says a number that the file before it goes on to use. (Too many open files is how it comes.)"""
    if fails == "open to append":
        monkeypatch.setattr(layout, "open_to_append", _error(errno.EMFILE))
    else:
        monkeypatch.setattr("audit_wrapper.journal.segment.Reader", _error(errno.EMFILE))
    for _ in range(30):
        account.ask()
    assert len(layout.segment_paths(account.journal.folder)) == 1
    monkeypatch.undo()
    for _ in range(30):
        account.ask()
    account.check_after_restart()


# -- gone


def test_a_deleted_folder_is_made_again_and_nothing_undelivered_is_lost(account: Account) -> None:
    folder = account.journal.folder
    for _ in range(25):
        account.ask()
    shutil.rmtree(folder)
    account.journal.tend()
    account.ask()
    account.check()  # from the files still open
    assert What.DELETED in {finding.what for finding in account.journal.damage}
    with pytest.raises(JournalInUse):
        FileJournal.open(folder)
    account.journal.close()
    assert list(verify(folder)) == [], "they were written back"
    with closing(FileJournal.open(folder)) as account.journal:
        account.check()


def test_a_file_deleted_while_it_is_read_is_written_back(account: Account) -> None:
    for _ in range(25):
        account.ask()
    assert len(account.journal.read(0, 3)) == 3
    for path in layout.segment_paths(account.journal.folder):
        path.unlink()
        account.ask()
        account.check()
        account.journal.tend()
    account.check()
    account.journal.close()
    assert list(verify(account.journal.folder)) == []


def test_a_live_file_that_somebody_emptied_is_not_written_on(account: Account) -> None:
    """As logrotate's copytruncate does: what it held is lost, and said so; what follows is whole."""
    for _ in range(3):
        account.ask()
    path = account.journal._writer.end.segment.path
    os.truncate(path, 0)
    account.journal.tend()
    for _ in range(3):
        account.ask()
    entries = read_all(account.journal)
    assert [(entry.seq, entry.damage) for entry in entries] == [(4, ""), (5, ""), (6, "")]
    assert {What.DELETED, What.GAP} <= {finding.what for finding in account.journal.damage}


def test_the_lock_is_taken_again_after_somebody_deleted_it(account: Account) -> None:
    (account.journal.folder / layout.LOCK).unlink()
    account.journal.tend()
    with pytest.raises(JournalInUse):
        FileJournal.open(account.journal.folder)


def test_appends_fail_while_the_folder_cannot_be_made_and_work_again_after(tmp_path: Path) -> None:
    account = Account(FileJournal.open(tmp_path / "mount" / "journal"))
    for _ in range(3):
        account.ask()
    shutil.rmtree(tmp_path / "mount")
    (tmp_path / "mount").write_text("in the way")
    with pytest.raises(JournalUnavailable, match=SAYS_WHAT_TO_DO):
        account.journal.tend()
    for _ in range(3):
        account.refused()
    (tmp_path / "mount").unlink()
    account.ask()
    account.check()
    account.journal.tend()
    account.check_after_restart()


def test_a_folder_without_rights(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "journal"
    account = Account(FileJournal.open(folder, segment_bytes=1_000))
    account.ask()
    folder.chmod(0o500)
    try:
        for _ in range(5):
            account.ask()  # the file is open: rather one that is too long than no entry
        account.journal.close()
        with pytest.raises(JournalUnavailable, match="make it writable"):
            FileJournal.open(folder)
    finally:
        folder.chmod(0o700)
    with closing(FileJournal.open(folder)) as account.journal:
        account.check()


def test_reading_goes_on_beside_the_deletion_of_the_folder(tmp_path: Path) -> None:
    account = Account(FileJournal.open(tmp_path / "journal", segment_bytes=2_000))
    stop = threading.Event()
    problems: list[BaseException] = []

    def delete() -> None:
        try:
            while not stop.is_set():
                shutil.rmtree(account.journal.folder, ignore_errors=True)
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(300):
            with suppress(JournalUnavailable):
                account.ask()
            with suppress(JournalUnavailable):
                account.journal.tend()
            with suppress(JournalUnavailable):
                account.journal.read(max(0, account.journal.durable_seq - 5), 10)
    finally:
        stop.set()
        thread.join()
    assert problems == []
    account.ask()
    account.check()
    for _ in range(2):
        account.journal.tend()
    account.journal.close()
    with closing(FileJournal.open(tmp_path / "journal")) as account.journal:
        account.check()


# -- reading


class BadBlock:
    """A file of which the disk does not give one block."""

    def __init__(self, file: object, block: int, number: int) -> None:
        self._file = file
        self._block = block
        self._number = number
        self._at = 0

    def seek(self, offset: int) -> int:
        self._at = offset
        return self._file.seek(offset)  # type: ignore[attr-defined, no-any-return]

    def read(self, wanted: int = -1) -> bytes:
        bad = self._block * 4096
        if self._at < bad + 4096 and (wanted < 0 or self._at + wanted > bad):
            raise OSError(self._number, os.strerror(self._number))
        return self._file.read(wanted)  # type: ignore[attr-defined, no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> "BadBlock":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # type: ignore[attr-defined]


@pytest.fixture
def bad_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileJournal:
    """A journal of two files and twenty entries of some 1500 bytes, the second block of the first not readable."""
    journal = FileJournal.open(tmp_path, segment_bytes=15_000)
    for _ in range(20):
        journal.append(b"x" * 1500)
    first, last = layout.segment_paths(tmp_path)
    assert layout.first_seq_of(last) == 11
    held = journal._shelf.held[0]
    held.reader = BadBlock(held.reader, 1, errno.EIO)  # type: ignore[assignment]

    def open_bad(path: Path, *arguments: object, **named: object) -> object:
        opened = open(path, *arguments, **named)  # type: ignore[call-overload]  # noqa: SIM115
        return BadBlock(opened, 1, errno.EIO) if path == first else opened

    for module in ("cursor", "opening", "verify", "shelf"):
        monkeypatch.setattr(sys.modules[f"audit_wrapper.journal.{module}"], "open", open_bad, raising=False)
    return journal


def test_what_the_disk_does_not_give_is_waited_for(bad_block: FileJournal) -> None:
    for _ in range(3):
        with pytest.raises(JournalUnavailable, match=r"cannot be read now.*waits there"):
            bad_block.read(0, 100)
    assert bad_block.damage == ()
    held = bad_block._shelf.held[0]
    held.reader = held.reader._file  # type: ignore[union-attr]
    assert len(read_all(bad_block)) == 20  # it came back
    assert bad_block.damage == ()
    assert held.failing_since is None, "and the next time is waited for again"
    bad_block.close()


def test_what_the_disk_does_not_give_for_long_is_gone_around_and_told(
    bad_block: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "_GIVE_UP_S", 0.0)
    with pytest.raises(JournalUnavailable):
        bad_block.read(0, 100)
    entries = read_all(bad_block)
    lost = {3, 4, 5, 6} & {*range(1, 21)} - {entry.seq for entry in entries if not entry.damage}
    assert lost
    assert {entry.seq for entry in entries} | lost == {*range(1, 21)}
    assert all(entry.payload == b"x" * 1500 for entry in entries if not entry.damage)
    assert min(finding.seq or 0 for finding in bad_block.damage) == min(lost)
    told = {(finding.what, finding.seq) for finding in bad_block.damage}
    assert {(finding.what, finding.seq) for finding in verify(bad_block.folder)} == told
    bad_block.close()


def test_a_last_file_that_cannot_be_read_is_no_reason_not_to_open(
    bad_block: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_block.close()
    layout.segment_paths(bad_block.folder)[1].unlink()
    with closing(FileJournal.open(bad_block.folder)) as journal:
        assert journal.append(b"on") == 11
        assert {finding.seq for finding in journal.damage} <= {3, 4, 5, 6}
        assert journal.damage


def test_the_entries_before_what_cannot_be_read_are_delivered_meanwhile(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=1)) as journal:
        for _ in range(5):
            journal.append(b"x")
        held = journal._shelf.held[2]
        held.reader = BadBlock(held.reader, 0, errno.EIO)  # type: ignore[assignment]
        assert [entry.seq for entry in journal.read(0, 10)] == [1, 2]
        with pytest.raises(JournalUnavailable):
            journal.read(2, 10)


def test_a_file_that_is_gone_is_waited_for_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk may not be mounted just now."""
    with closing(FileJournal.open(tmp_path, segment_bytes=1)) as journal:
        for _ in range(5):
            journal.append(b"x")
    with closing(FileJournal.open(tmp_path)) as journal:
        third = layout.segment_path(tmp_path, 3)
        away = third.rename(tmp_path / "away")
        assert [entry.seq for entry in journal.read(0, 10)] == [1, 2]
        with pytest.raises(JournalUnavailable, match="waits there"):
            journal.read(2, 10)
        away.rename(third)
        assert [entry.seq for entry in journal.read(2, 10)] == [3, 4, 5]
        assert journal.damage == ()
        third.unlink()
        monkeypatch.setattr(shelf, "_GIVE_UP_S", 0.0)
        assert [entry.seq for entry in read_all(journal)] == [1, 2, 4, 5]
        assert [(finding.what, finding.seq) for finding in journal.damage] == [(What.DELETED, 3)]


# -- housekeeping


def test_housekeeping_that_fails_loses_nothing_and_is_done_later(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(25):
        account.ask()
    with monkeypatch.context() as context:
        context.setattr(layout, "put", _error(errno.EIO))
        make_due(account.journal, delivered=10)
        with pytest.raises(JournalUnavailable, match="nothing is lost"):
            account.journal.tend()
        account.ask()
    account.journal.tend()
    state = read_state(account.journal.folder)
    assert state is not None
    assert state.delivered_seq == 10
    account.check_after_restart()
