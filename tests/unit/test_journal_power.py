"""The loss of power as a choice: with durability "power" what was returned is on the disk itself, in whatever state the
disk may lawfully be. Every operation is recorded; for each moment the states it may leave behind are built, and opened."""

import itertools
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from journals import read_all

from audit_wrapper.errors import JournalNotForced
from audit_wrapper.journal import FileJournal, What, layout, verify

# -- what was done


@dataclass
class File:
    """An inode: what was written to it, and how much of that is on the disk itself."""

    content: bytes = b""
    forced: bytes = b""


@dataclass
class Disk:
    """The files and names under `root` at one moment: those forced to the disk, and the changes of names after that.

    A change: (path, the file it names from then on). None: it names nothing.
    """

    root: Path
    files: list[File] = field(default_factory=list)
    names: dict[Path, int | None] = field(default_factory=dict)  # -1: a folder
    forced_names: dict[Path, int | None] = field(default_factory=dict)
    changes: list[tuple[Path, int | None]] = field(default_factory=list)

    def name(self, path: Path, what: int | None) -> None:
        self.names[path] = what
        self.changes.append((path, what))

    def force_names(self, folder: Path) -> None:
        for path, what in self.changes:
            if path.parent == folder:
                self.forced_names[path] = what
        self.changes = [change for change in self.changes if change[0].parent != folder]

    # -- what may be left of it

    def states(self) -> Iterator[dict[Path, bytes | None]]:
        """Each a folder as it may be found: path to content, None for a folder."""
        seen = set()
        for names, contents in [
            *((names, "kept") for names in self._names()),
            *((names, "lost") for names in self._names()),
            *((self.names, how) for how in ("half", "half and zeros", "zeros")),
        ]:
            state = {
                path: None if what == -1 else self._content(self.files[what], contents)
                for path, what in sorted(names.items())
                if what is not None and all(names.get(parent) == -1 for parent in self._above(path))
            }
            key = tuple(state.items())
            if key not in seen:
                seen.add(key)
                yield state

    def _above(self, path: Path) -> list[Path]:
        return [parent for parent in path.parents if parent != self.root and parent.is_relative_to(self.root)]

    def _names(self) -> Iterator[dict[Path, int | None]]:
        """With the first so many changes of names since they were forced; and with each one alone missing, or done."""
        count = len(self.changes)
        chosen = [{*range(done)} for done in range(count + 1)]
        chosen += [{*range(count)} - {one} for one in range(count)] + [{one} for one in range(count)]
        for done in chosen:
            names = dict(self.forced_names)
            for index, (path, what) in enumerate(self.changes):
                if index in done:
                    names[path] = what
            yield names

    @staticmethod
    def _content(file: File, how: str) -> bytes:
        if not file.content.startswith(file.forced):  # it was cut: the cut, too, may be lost
            return file.forced if how == "lost" else file.content
        more = len(file.content) - len(file.forced)
        half = file.content[: len(file.forced) + more // 2]
        return {
            "kept": file.content,
            "lost": file.forced,
            "half": half,
            "half and zeros": half.ljust(len(file.content), b"\0"),
            "zeros": file.forced.ljust(len(file.content), b"\0"),
        }[how]


class Recorder:
    """Stands between the journal and `os`, notes what it does, and calls `moment` after each operation."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, moment: Callable[[], None]) -> None:
        self.disk = Disk(root)
        self.done: list[str] = []
        self._descriptors: dict[int, int | Path] = {}  # to a file, or a folder
        notes = {
            "open": self._opened,
            "write": self._written,
            "fsync": self._forced,
            "ftruncate": self._cut,
            "replace": self._replaced,
            "unlink": self._unlinked,
            "mkdir": self._made,
            "close": self._closed,
        }
        for name, note in notes.items():
            monkeypatch.setattr(os, name, self._between(getattr(os, name), note, moment))

    def _between(
        self, real: Callable[..., object], note: Callable[..., str], moment: Callable[[], None]
    ) -> Callable[..., object]:
        def called(*arguments: object, **named: object) -> object:
            result = real(*arguments, **named)
            if done := note(result, *arguments):
                self.done.append(done)
                moment()
            return result

        return called

    def _path(self, path: object) -> Path | None:
        if not isinstance(path, str | Path):
            return None
        path = Path(path)
        ours = path.is_relative_to(self.disk.root) and path.name != layout.LOCK
        return path if ours else None

    def _opened(self, descriptor: int, name: object, flags: int, *_: object) -> str:
        path = self._path(name)
        if path is None:
            return ""
        if path.is_dir():
            self._descriptors[descriptor] = path
            return ""
        file = self.disk.names.get(path)
        done = ""
        if file is None:
            file = len(self.disk.files)
            self.disk.files.append(File())
            self.disk.name(path, file)
            done = f"make {path.name}"
        elif flags & os.O_TRUNC:
            self.disk.files[file].content = b""
            done = f"empty {path.name}"
        self._descriptors[descriptor] = file
        return done

    def _written(self, written: int, descriptor: int, text: bytes) -> str:
        file = self._descriptors.get(descriptor)
        if not isinstance(file, int):
            return ""
        self.disk.files[file].content += bytes(text[:written])
        return "write"

    def _forced(self, _: object, descriptor: int) -> str:
        what = self._descriptors.get(descriptor)
        if isinstance(what, int):
            self.disk.files[what].forced = self.disk.files[what].content
            return "force"
        if isinstance(what, Path):
            self.disk.force_names(what)
            return "force names"
        return ""

    def _cut(self, _: object, descriptor: int, size: int) -> str:
        file = self._descriptors.get(descriptor)
        if not isinstance(file, int):
            return ""
        self.disk.files[file].content = self.disk.files[file].content[:size]
        return "cut"

    def _replaced(self, _: object, source: object, target: object) -> str:
        old, new = self._path(source), self._path(target)
        if old is None or new is None:
            return ""
        file = self.disk.names[old]
        self.disk.name(new, file)
        self.disk.name(old, None)
        return f"rename to {new.name}"

    def _unlinked(self, _: object, name: object, *__: object) -> str:
        path = self._path(name)
        if path is None:
            return ""
        self.disk.name(path, None)
        return f"remove {path.name}"

    def _made(self, _: object, name: object, *__: object) -> str:
        path = self._path(name)
        if path is None:
            return ""
        self.disk.name(path, -1)
        return f"make folder {path.name}"

    def _closed(self, _: object, descriptor: int) -> str:
        self._descriptors.pop(descriptor, None)
        return ""

    def taken_away(self, path: Path) -> None:
        """By somebody else, for good."""
        self.disk.names[path] = self.disk.forced_names[path] = None
        self.disk.changes = [change for change in self.disk.changes if change[0] != path]


class Bot:
    """Trades with a journal on a recorded disk. `promised`: what must be found after any loss of power from now on."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        root.mkdir()
        self.folder = root / "of the bot" / "journal"
        self.promised: dict[int, bytes] = {}
        self.told = {What.TORN_TAIL}  # what may be found to be wrong
        self.moments: list[tuple[dict[int, bytes], set[What], dict[Path, bytes | None]]] = []
        self._seen: set[object] = set()
        self._asked = 0
        self.recorder = Recorder(root, monkeypatch, self.moment)
        self.journal = self.open()

    def open(self) -> FileJournal:
        self.journal = FileJournal.open(
            self.folder, durability="power", segment_bytes=600, keep_delivered_s=0, keep_delivered_bytes=1 << 30
        )
        return self.journal

    def moment(self) -> None:
        for state in self.recorder.disk.states():
            key = (tuple(self.promised), *self.told, tuple(state.items()))
            if key not in self._seen:
                self._seen.add(key)
                self.moments.append((dict(self.promised), self.told, state))

    def append(self, count: int = 1) -> None:
        for _ in range(count):
            self._asked += 1
            payload = b"entry asked for as %d " % self._asked * 5
            seq = self.journal.append(payload)
            self.promised[seq] = payload
            self.moment()

    def deliver(self, seq: int) -> None:
        self.journal.delivered(seq)
        for one in [one for one in self.promised if one <= seq]:
            del self.promised[one]  # the store has it
        self.tend()

    def tend(self) -> None:
        self.journal._upkeep._state_at = 0.0  # the side file is due
        self.journal.tend()


def some_entries(bot: Bot) -> None:
    bot.append(3)


def several_files(bot: Bot) -> None:
    bot.append(14)


def housekeeping(bot: Bot) -> None:
    bot.append(4)
    bot.tend()
    bot.append(1)


def retention(bot: Bot) -> None:
    bot.append(9)
    bot.deliver(7)
    bot.append(3)
    bot.deliver(12)
    bot.append(1)


def a_restart(bot: Bot) -> None:
    bot.append(4)
    bot.journal.close()
    bot.open()
    bot.append(4)


def another_stream(bot: Bot) -> None:
    bot.append(3)
    bot.journal.branch(1)
    bot.append(3)


def a_deleted_file(bot: Bot) -> None:
    """What it held is not there until it is written back, and from then on for good."""
    bot.append(5)
    victim = layout.segment_paths(bot.folder)[0]
    promised = dict(bot.promised)
    bot.promised = {seq: payload for seq, payload in promised.items() if seq > 4}
    bot.told = {What.TORN_TAIL, What.GAP}
    victim.rename(bot.root.parent / "taken away")
    bot.recorder.taken_away(victim)
    bot.tend()
    bot.promised, bot.told = promised, {What.TORN_TAIL}
    bot.append(1)


def a_refused_entry(bot: Bot) -> None:
    bot.append(2)
    write = os.write

    def half(descriptor: int, text: bytes) -> int:
        return write(descriptor, text[: len(text) // 2])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="cannot be written"):
            bot.journal.append(b"refused" * 10)
    bot.append(2)


def two_threads(bot: Bot) -> None:
    """One has written and not forced its entry yet when the other one begins the next file."""
    bot.append(1)
    force, came = layout.force, False

    def late(descriptor: int) -> None:
        nonlocal came
        if not came:
            came = True
            bot.journal._writer._full_at = 0
            bot.append(1)
        force(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "force", late)
        bot.append(1)
    assert len(layout.segment_paths(bot.folder)) == 2


def killed_before_it_was_forced(bot: Bot) -> None:
    """Nobody was told of that entry. But the next run has it, and goes on behind it, in another file."""
    bot.append(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "force", lambda _: None)
        bot.journal.append(b"nobody was told")
    bot.journal.disown()  # as if the process had died
    bot.open()
    bot.journal._writer._full_at = 0
    bot.append(2)


STORIES = [
    some_entries,
    several_files,
    housekeeping,
    retention,
    a_restart,
    another_stream,
    a_deleted_file,
    a_refused_entry,
    two_threads,
    killed_before_it_was_forced,
]


@pytest.mark.parametrize("story", STORIES)
def test_whenever_power_is_lost_what_was_returned_is_there(
    memory: Path, monkeypatch: pytest.MonkeyPatch, story: Callable[[Bot], None]
) -> None:
    with monkeypatch.context() as context:
        bot = Bot(memory / "disk", context)
        story(bot)
        bot.journal.close()
    assert len(bot.moments) > 30
    for index, (promised, told, state) in enumerate(bot.moments):
        root = memory / str(index)
        left = {root / path.relative_to(bot.root): content for path, content in state.items()}
        root.mkdir()
        for path, content in left.items():
            path.mkdir() if content is None else path.write_bytes(content)
        folder = root / bot.folder.relative_to(bot.root)
        try:
            if folder.exists():
                assert {finding.what for finding in verify(folder)} <= told
            with closing(FileJournal.open(folder, durability="power")) as journal:
                entries = {entry.seq: entry for entry in read_all(journal)}
                assert {seq: entry.payload for seq, entry in entries.items()}.items() >= promised.items()
                assert not any(entry.damage for entry in entries.values())
                assert {finding.what for finding in journal.damage} <= told
                assert journal.append(b"on") == max(entries, default=journal.durable_seq - 1) + 1
        except BaseException as problem:
            names = {path.name: content and len(content) for path, content in left.items()}
            problem.add_note(f"moment {index} of {len(bot.moments)}: {names}, promised {[*promised]}")
            raise
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes what is verified: it need not be looked at twice."""
    monkeypatch.setattr(sys.modules["audit_wrapper.journal.verify"], "_LOOK_S", 0.0)


def test_the_order_in_which_a_file_comes_to_be(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = Bot(memory / "disk", monkeypatch)
    done = bot.recorder.done
    new, state = "segment-00000000000000000001.journal", layout.STATE
    assert done == [
        # the folder, and the one it is in
        "make folder of the bot",
        "make folder journal",
        "force names",
        "force names",
        # who the journal is
        f"make {state}.new",
        "write",
        "force",
        f"rename to {state}",
        "force names",
        # the first file
        f"make {new}.new",
        "write",
        "force",
        f"rename to {new}",
        "force names",
        # in which run, and whether it ended well
        f"make {state}.new",
        "write",
        "force",
        f"rename to {state}",
        "force names",
    ]
    done.clear()
    bot.append(1)
    assert done == ["write", "force"]
    while "write" in done[:1]:
        done.clear()
        bot.append(1)
    last = bot.journal.durable_seq
    second = layout.segment_path(bot.folder, last).name
    assert done == [f"make {second}.new", "write", "force", f"rename to {second}", "force names", "write", "force"]
    done.clear()
    bot.deliver(last - 1)
    assert done[:6] == [f"make {state}.new", "write", "force", f"rename to {state}", "force names", f"remove {new}"], (
        "what retention takes away is said before it is done"
    )
    bot.journal.close()


# -- what an append waits for


def test_without_power_durability_no_append_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(FileJournal.open(tmp_path, segment_bytes=500)) as journal:

        def never(_: object) -> None:
            raise AssertionError("an append waits for the disk")

        with monkeypatch.context() as context:
            context.setattr(layout, "force", never)
            context.setattr(layout, "force_names", never)
            for _ in range(50):
                journal.append(b"x" * 100)
        assert len(layout.segment_paths(tmp_path)) > 10


def test_threads_share_one_wait_and_none_returns_before_its_entry_is_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, each = 8, 12
    clock = itertools.count()
    written: dict[bytes, int] = {}
    forced: list[tuple[int, int]] = []  # begun, done
    write, force = os.write, layout.force

    def timed_write(descriptor: int, text: bytes) -> int:
        result = write(descriptor, text)
        written[bytes(text[-12:])] = next(clock)
        return result

    def slow_force(descriptor: int) -> None:
        begun = next(clock)
        threading.Event().wait(0.005)  # a disk
        force(descriptor)
        forced.append((begun, next(clock)))

    problems: list[BaseException] = []
    with closing(FileJournal.open(tmp_path, durability="power", segment_bytes=1_500)) as journal:
        monkeypatch.setattr(os, "write", timed_write)
        monkeypatch.setattr(layout, "force", slow_force)

        def trade(thread: int) -> None:
            try:
                for number in range(each):
                    payload = b"%02d of %05d" % (thread, number)
                    journal.append(payload)
                    now, at = next(clock), written[payload + b"\n"]
                    assert any(at < begun and done < now for begun, done in [*forced]), "it returned too early"
            except BaseException as problem:
                problems.append(problem)

        running = [threading.Thread(target=trade, args=(thread,)) for thread in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert problems == []
        rotations = len(layout.segment_paths(tmp_path))
        assert rotations > 3
        assert len(forced) - 2 * rotations < threads * each / 2
        assert len(read_all(journal)) == threads * each


def test_an_entry_that_cannot_be_forced_is_there_once_and_the_next_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(FileJournal.open(tmp_path, durability="power")) as journal:
        journal.append(b"before")
        with monkeypatch.context() as context:
            context.setattr(layout, "force", _refuse)
            for payload in (b"one", b"two"):
                with pytest.raises(
                    JournalNotForced, match=r"does not keep it through a loss of power.*look at the disk"
                ):
                    journal.append(payload)
        journal.append(b"after")
        assert [entry.payload for entry in read_all(journal)] == [b"before", b"one", b"two", b"after"]
    assert list(verify(tmp_path)) == []


def _refuse(_: object) -> None:
    raise OSError(5, "Input/output error")


def test_a_disk_that_refuses_once_is_not_believed_by_those_who_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells one of them, and then takes for written what it has thrown away."""
    force, refused = layout.force, threading.Event()
    entered, outcomes = threading.Event(), []

    def refuse_once(descriptor: int) -> None:
        if not refused.is_set():
            entered.set()
            while journal.durable_seq < 3:
                threading.Event().wait(0.001)
            refused.set()
            _refuse(descriptor)
        force(descriptor)

    with closing(FileJournal.open(tmp_path, durability="power")) as journal:

        def trade(payload: bytes) -> None:
            try:
                journal.append(payload)
                outcomes.append("kept")
            except JournalNotForced:
                outcomes.append("not forced")

        monkeypatch.setattr(layout, "force", refuse_once)
        threads = [threading.Thread(target=trade, args=(b"%d" % number,)) for number in range(3)]
        threads[0].start()
        assert entered.wait(10)
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == ["not forced"] * 3
        journal.append(b"after")
        assert len(read_all(journal)) == 4


def test_nor_by_him_who_comes_last_when_others_have_been_kept_since(tmp_path: Path) -> None:
    with closing(FileJournal.open(tmp_path, durability="power")) as journal:
        journal.append(b"x")
        end, failures = journal._writer.end, journal._writer._failures
        with pytest.MonkeyPatch.context() as context:
            context.setattr(layout, "force", _refuse)
            with pytest.raises(JournalNotForced):
                journal.append(b"refused")
        journal.append(b"kept")
        with pytest.raises(JournalNotForced, match="refused another entry"):
            journal._writer._force(end, failures)


def test_a_new_file_is_not_begun_before_the_old_one_is_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And if that fails, whoever waits for an entry in the old one is told."""
    with closing(FileJournal.open(tmp_path, durability="power", segment_bytes=200)) as journal:
        journal.append(b"x" * 300)
        with monkeypatch.context() as context:
            context.setattr(layout, "force", _refuse)
            for _ in range(3):
                with pytest.raises(JournalNotForced):
                    journal.append(b"y" * 300)
            assert len(layout.segment_paths(tmp_path)) == 1
        journal.append(b"z")
        assert len(read_all(journal)) == 5
