"""Names for parameters that are objects: without addresses, so that every process of a test run finds the same tests."""

from __future__ import annotations

import re


def named(value: object) -> str:
    """The object's repr, less what differs from process to process."""
    return re.sub(r"(0x|id=')[0-9a-f]+", r"\1", repr(value))
