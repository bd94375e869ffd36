"""The parts: a module each, with `run(place)`."""

from __future__ import annotations

import importlib

from benchmarks.apart import apart
from benchmarks.place import Place
from benchmarks.result import Result

PARTS = ("order_path", "loop_lag", "delivery", "footprint", "adapters")
BY_OPTION = ("growth", "instructions")


def measured(part: str, place: Place) -> Result:
    """Run one part."""
    return apart(_run, part, place)


def _run(part: str, place: Place) -> Result:
    result: Result = importlib.import_module(f"benchmarks.{part}").run(place)
    return result
