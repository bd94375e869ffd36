"""A function in a process of its own: nothing of one measurement (memory, threads, garbage) is there in the next one."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def apart(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What it returns; it, its arguments and that must pickle."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_quiet) as worker:
        return worker.submit(function, *args, **kwargs).result()


def _quiet() -> None:
    logging.getLogger("audit_wrapper").setLevel(logging.CRITICAL)  # failures are looked at in the status
