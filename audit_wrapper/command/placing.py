"""A file that a command writes: in its place only once all of it is there; one that was there stays as it is until then."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import typer

_OF_THE_DISK = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
)


@contextlib.contextmanager
def placed(output: Path) -> Iterator[BinaryIO]:
    """What is written to. Raises BadParameter where the disk refuses; then, and where the work within fails, nothing is left of it."""
    try:
        with tempfile.NamedTemporaryFile(
            dir=output.absolute().parent, prefix=f".{output.name}.", suffix=".part", delete=False
        ) as part:
            try:
                yield part  # type: ignore[misc]
                part.flush()
                os.fsync(part.fileno())
                os.chmod(part.name, 0o666 & ~_umask())
                os.replace(part.name, output)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part.name)
                raise
    except OSError as problem:
        if problem.errno not in _OF_THE_DISK:  # of the database, or of a reader that has seen enough
            raise
        raise typer.BadParameter(f"{output} cannot be written: {problem.strerror or problem}") from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
