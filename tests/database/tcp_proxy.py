"""A proxy between asyncpg and PostgreSQL that reads the client's messages and fails where it is told to.

It runs on a thread of its own, so that neither the bot's loop nor the delivery's is touched by what it does. The
client's side is parsed as the protocol has it (https://www.postgresql.org/docs/current/protocol-message-formats.html):
first a startup packet without a type, then messages of a type and a length.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Where(Enum):
    """Where a connection is cut, as seen from one message of the client."""

    BEFORE = "before the message"
    WITHIN = "in the middle of the message"
    BEFORE_THE_ANSWER = "after the server has answered it, and before the client hears of that"
    UNHEARD = "before the message, and the server does not hear of it: its side stays open and silent"


class Message(NamedTuple):
    """One message of the client. `type` is "" for the startup packet, `text` the SQL, where it has any."""

    type: str
    text: str
    size: int

    @property
    def is_answered(self) -> bool:
        """Whether the server answers at once, not at a later message."""
        return not self.type or self.type in "SQH"


class _Cut(NamedTuple):
    meant: Callable[[int, Message], bool]
    where: Where
    reset: bool


class TcpProxy:
    """`dsn` leads through the proxy to the database of the DSN that it was made with.

    `messages`: what clients have sent since `watch` was called, or since the last cut, over all connections.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._server_host = query["host"][0] if "host" in query else parts.hostname or "localhost"
        self._server_port = int(query["port"][0]) if "port" in query else parts.port or 5432
        self._links: set[_Link] = set()
        self._cuts: list[_Cut] = []
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self.messages: list[Message] = []
        self.delay_s = 0.0  # added to every message that the server answers
        self.connections = 0
        self.was_cut = threading.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        user = parts.netloc.rpartition("@")[0] or "postgres:"
        self.dsn = urlunsplit(
            (parts.scheme, f"{user}@127.0.0.1:{self.port}", parts.path, "sslmode=disable", parts.fragment)
        )
        self.accept()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut everything, and end."""
        self.refuse()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- what may happen to a network

    def accept(self) -> None:
        """Take connections (again)."""
        self._do(self._listen())

    def refuse(self) -> None:
        """Take no connections any more, and reset those there are."""
        self._do(self._close_listener())
        self.reset()

    def reset(self) -> None:
        """Reset every connection, on both sides."""
        self._do(self._reset())

    def stall(self) -> None:
        """Pass nothing on, either way, and keep every connection. New ones are taken, and stall too."""
        self._do(self._stall(True))

    def flow(self) -> None:
        """Pass on again what was held back."""
        self._do(self._stall(False))

    def watch(self) -> None:
        """Begin to count messages anew."""
        self._do(self._watch())

    def cut_at(self, *numbers: int, where: Where = Where.BEFORE, reset: bool = True) -> None:
        """Cut at the message of this number (0: the next one), once. reset: with a TCP RST, else with a FIN.

        Where it is to be before an answer: at the first message from there on that has one. Several numbers: as many
        cuts, one after the other, messages being counted anew after each.
        """
        waits = where is Where.BEFORE_THE_ANSWER
        cuts = [
            _Cut(lambda place, m, number=number: place >= number and (m.is_answered or not waits), where, reset)  # type: ignore[misc]
            for number in numbers
        ]
        self.was_cut.clear()
        self._do(self._watch(cuts))

    def cut_when(self, meant: Callable[[Message], bool], where: Where = Where.BEFORE) -> None:
        """Cut at the first message that is meant, once; `was_cut` is set then."""
        self.was_cut.clear()
        self._do(self._watch([_Cut(lambda _, message: meant(message), where, True)]))

    # -- on the thread

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=1 << 20)

    async def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _reset(self) -> None:
        for link in list(self._links):
            link.cut()

    async def _end(self) -> None:
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _stall(self, stalled: bool) -> None:
        self._flowing.clear() if stalled else self._flowing.set()

    async def _watch(self, cuts: Sequence[_Cut] = ()) -> None:
        self.messages, self._cuts = [], list(cuts)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        except asyncio.CancelledError:
            return  # at the end; asyncio's own streams would complain
        finally:
            self._links.discard(link)

    async def connect_to_server(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._server_host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._server_host}/.s.PGSQL.{self._server_port}")
        return await asyncio.open_connection(self._server_host, self._server_port)

    async def flowing(self) -> None:
        await self._flowing.wait()

    def seen(self, message: Message) -> _Cut | None:
        """Count the message; how to cut at it, if that was asked for."""
        number = len(self.messages)
        self.messages.append(message)
        if not self._cuts or not self._cuts[0].meant(number, message):
            return None
        self.messages = []
        return self._cuts.pop(0)

    def cut_done(self) -> None:
        if not self._cuts:
            self.was_cut.set()


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._deaf = False  # the server's answers do not reach the client any more
        self._abandoned = False
        self._answered = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        try:
            await self._proxy.flowing()
            from_server, self._to_server = await self._proxy.connect_to_server()
            self._tasks = [
                asyncio.create_task(self._requests()),
                asyncio.create_task(self._answers(from_server)),
            ]
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._abandoned:
                await asyncio.wait(self._tasks)  # until the server has had enough
        except OSError:
            return  # the server is away: so is this connection
        finally:
            self.cut()
            for task in self._tasks:
                with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
                    await task

    def cut(self, *, reset: bool = True) -> None:
        for writer in (self._to_client, self._to_server):
            if writer is None:
                continue
            _close(writer, reset=reset)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _requests(self) -> None:
        started = False
        while True:
            message, data, started = await self._next(started)
            await self._proxy.flowing()
            if self._proxy.delay_s and message.is_answered:
                await asyncio.sleep(self._proxy.delay_s)
            cut = self._proxy.seen(message)
            assert self._to_server is not None
            if cut is None:
                self._to_server.write(data)
                await self._to_server.drain()
                continue
            where = cut.where
            if where is Where.WITHIN:
                self._to_server.write(data[: len(data) // 2])
                await self._to_server.drain()
            elif where is Where.BEFORE_THE_ANSWER:
                self._deaf = True
                self._answered.clear()
                self._to_server.write(data)
                await self._to_server.drain()
                await self._answered.wait()
            if where is Where.UNHEARD:
                self._deaf = self._abandoned = True
                _close(self._to_client, reset=True)
            else:
                self.cut(reset=cut.reset)
            self._proxy.cut_done()
            return

    async def _next(self, started: bool) -> tuple[Message, bytes, bool]:
        if started:
            head = await self._from_client.readexactly(5)
            (size,) = struct.unpack("!i", head[1:])
            body = await self._from_client.readexactly(size - 4)
            return Message(chr(head[0]), _sql(head[:1], body), size), head + body, True
        head = await self._from_client.readexactly(4)
        (size,) = struct.unpack("!i", head)
        return Message("", "startup", size), head + await self._from_client.readexactly(size - 4), True

    async def _answers(self, from_server: asyncio.StreamReader) -> None:
        while data := await from_server.read(1 << 16):
            await self._proxy.flowing()
            self._answered.set()
            if not self._deaf:
                self._to_client.write(data)
                await self._to_client.drain()


def _sql(kind: bytes, body: bytes) -> str:
    if kind == b"Q":
        return body.rstrip(b"\0").decode()
    if kind == b"P":
        return body.split(b"\0")[1].decode()
    return ""


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    inner = writer.get_extra_info("socket")
    if reset and inner is not None and inner.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if reset:
        writer.transport.abort()
    else:
        writer.close()
