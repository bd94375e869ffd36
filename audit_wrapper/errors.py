"""Every error this library raises, as one tree.

    AuditWrapperError
    ├── SettingsError            a setting is unknown or has a value that cannot be right       (at startup)
    ├── CannotWrap               the object has nothing we know how to observe                  (at startup)
    ├── NotWrapped               an exchange was named of which no client is wrapped            (from the call)
    ├── TrailClosed              the trail was closed before this call                          (from the call)
    ├── NothingFound             the tables have nothing of the name that was asked for         (from the call)
    ├── EntryRefused             an entry that could not have been recorded was not sent        (only if asked for)
    ├── JournalError
    │   ├── JournalUnavailable   the folder cannot be created, read or written
    │   ├── JournalNotForced     written, but the disk does not force it (durability "power")
    │   ├── JournalInUse         another process is writing to this journal
    │   └── JournalDamaged       the bytes on disk are not what was written; says where
    ├── CodecError               bytes that are no record of a version this release can read
    └── StoreError
        ├── StoreUnavailable     the database cannot be reached; delivery keeps trying
        ├── SchemaError          the database lacks rights, or its schema is newer than this release
        ├── StreamConflict       the database has other records under the same numbers of a journal
        └── InvalidRow           a row handed to the store lacks something or is malformed

None of these is ever raised into a trade: inside a wrapped call they are counted, logged once per kind, and shown by
`AuditTrail.status()`. The one exception is EntryRefused, for those who set `entries_without_journal="refuse"`.
"""


class AuditWrapperError(Exception):
    """Base of all errors of this library; catch it to catch them all."""


class SettingsError(AuditWrapperError, ValueError):
    """A setting is unknown or cannot be used. The message names it, its source and what would be accepted."""


class CannotWrap(AuditWrapperError, TypeError):
    """`wrap` or `instrument` was given something it cannot observe. The message says what was looked for."""


class NotWrapped(AuditWrapperError, LookupError):
    """An exchange is to be asked of which no client is wrapped. Wrap it first; the message names those that are."""


class TrailClosed(AuditWrapperError, RuntimeError):
    """The trail was used after `close()`. Open a new one."""


class NothingFound(AuditWrapperError, LookupError):
    """The tables hold nothing of the name that was asked for. The message says what there is, where that is known."""


class EntryRefused(AuditWrapperError):
    """The journal cannot be written, and the trail was told to refuse entries then. Nothing was sent.

    Raised out of the bot's own call, with the setting `entries_without_journal="refuse"` only, and never for an order
    that reduces a position, a stop, a take-profit, an amendment or a cancel. Mend the disk; the next call works again.
    """


class JournalError(AuditWrapperError):
    """Base of what can go wrong with the local journal."""


class JournalUnavailable(JournalError, OSError):
    """The journal folder cannot be created, read or written. Choose another folder or mend its rights."""


class JournalNotForced(JournalError):
    """An entry is written and survives the process; it may not survive the loss of power, since the disk refused."""


class JournalInUse(JournalError):
    """Another process writes to this journal. Give each process a folder of its own."""


class JournalDamaged(JournalError):
    """The journal holds bytes that were not written by us, or lacks some that were. The message says where."""


class CodecError(AuditWrapperError, ValueError):
    """Bytes that are not a record, or one of a newer version. Upgrade this library to read newer ones."""


class StoreError(AuditWrapperError):
    """Base of what can go wrong with the database."""


class StoreUnavailable(StoreError, ConnectionError):
    """The database cannot be reached. Nothing is lost: the journal keeps what was recorded."""


class SchemaError(StoreError):
    """The schema cannot be created, or is newer than this release. The message says what a DBA has to do."""


class StreamConflict(StoreError):
    """The database has other records under these numbers: another copy of the journal was delivered. Begin a new stream."""


class InvalidRow(StoreError, ValueError):
    """A row handed to the store is incomplete or malformed. The message names the fields."""
