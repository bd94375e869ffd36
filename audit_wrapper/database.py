"""Where the records go, and how to get there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from audit_wrapper.embedded import EmbeddedPostgres
from audit_wrapper.errors import StoreUnavailable
from audit_wrapper.settings import Settings

if TYPE_CHECKING:
    from audit_wrapper.store.interface import Store

_PASSWORD = re.compile(r"([?&](?:password|sslpassword|passfile)=)[^&]*")


class Database:
    """The user's PostgreSQL, or one of our own in the journal's folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.embedded_folder = None if settings.dsn else str(settings.journal / "postgres")
        self._embedded = None if self.embedded_folder is None else EmbeddedPostgres(self.embedded_folder)
        self._stopped = False
        self.address = _without_password(settings.dsn) if settings.dsn else None

    def store(self) -> Store:
        """A new connection. On the delivery thread, where starting the embedded server holds up nobody."""
        from audit_wrapper.store.postgres import PostgresStore

        return PostgresStore(
            self.dsn(),
            bot_schema=self._settings.bot_schema,
            positions_table=self._settings.positions_table,
            statement_timeout_s=self._settings.statement_timeout_s,
        )

    def dsn(self) -> str:
        """Where it is; the embedded server is started, where it does not run yet."""
        dsn = self._settings.dsn
        if self._embedded is not None:
            if self._stopped:
                raise StoreUnavailable("the trail is closed, and with it the embedded PostgreSQL")
            dsn = self.address = self._embedded.start()  # also when it was killed meanwhile
        assert dsn is not None
        return dsn

    def stop(self) -> None:
        """Stop the embedded server, if it is ours."""
        self._stopped = True
        if self._embedded is not None:
            self._embedded.stop()


def _without_password(dsn: str) -> str:
    head, at, tail = dsn.rpartition("@")
    scheme, slashes, login = head.partition("://")
    address = f"{scheme}{slashes}{login.partition(':')[0]}{at}{tail}" if at else dsn
    return _PASSWORD.sub(r"\1***", address)
