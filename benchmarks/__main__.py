"""Measures, prints tables, writes JSON: `python -m benchmarks [PART ...] [--full | --tiny] [--json FILE] [--dsn DSN]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from audit_wrapper.embedded import EmbeddedPostgres
from benchmarks import machine
from benchmarks.effort import EFFORTS
from benchmarks.parts import BY_OPTION, PARTS, measured
from benchmarks.place import Place
from benchmarks.result import Table


def main() -> int:
    """Run the parts that were asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, *BY_OPTION, []], help="default: all but the last two")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--full", action="store_const", const="full", dest="effort", help="all that was asked for; an hour"
    )
    how.add_argument("--tiny", action="store_const", const="tiny", dest="effort", help="only to see that it runs")
    parser.add_argument("--json", type=Path, help="default: build/benchmarks.json; of parts alone build/PART.json")
    parser.add_argument(
        "--dsn", help="a PostgreSQL whose role may make databases; default: an embedded one, as it comes"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the journals and the embedded PostgreSQL are; default: a new one"
    )
    parser.set_defaults(effort="usual")
    options = parser.parse_args()
    options.json = options.json or Path("build") / f"{'-'.join(options.parts) or 'benchmarks'}.json"
    folder = Path(tempfile.mkdtemp(prefix="audit-wrapper-benchmarks-", dir=options.folder)).resolve()
    embedded = None if options.dsn else EmbeddedPostgres(folder / "postgres")
    try:
        server = options.dsn or embedded.start()  # type: ignore[union-attr]
        return _measured(options, folder, server)
    finally:
        if embedded is not None:
            embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _measured(options: argparse.Namespace, folder: Path, server: str) -> int:
    console = Console(width=None if sys.stdout.isatty() else 150)  # in a file there is room for whole rows
    about = machine.described(folder)
    console.print(_about(about), highlight=False)
    written: dict[str, Any] = {
        "machine": about,
        "effort": {options.effort: dataclasses.asdict(EFFORTS[options.effort])},
    }
    began = time.monotonic()
    for part in options.parts or PARTS:
        before, at = machine.load(), time.monotonic()
        place = Place(folder / part, server, EFFORTS[options.effort])
        place.folder.mkdir()
        result = measured(part, place)
        shutil.rmtree(place.folder)
        seconds, after = time.monotonic() - at, machine.load()
        written[part] = {
            "seconds": round(seconds, 1),
            "load_before": before,
            "load_after": after,
            "tables": [dataclasses.asdict(table) for table in result.tables],
            **result.figures,
        }
        for table in result.tables:
            console.print(_shown(table))
        console.print(
            f"{part}: {seconds:.0f} s, load {before[0]:.2f} before and {after[0]:.2f} after\n", highlight=False
        )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    console.print(f"{time.monotonic() - began:.0f} s in all; every figure is in {options.json}", highlight=False)
    return 0


def _about(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if version)
    return (
        f"{about['processor']}, {about['cores']} cores, {about['memory_mb']:,} MB, {about['system']}, files on "
        f"{about['filesystem']}\n{about['python']}, {versions}\n{about['command']}, commit {about['commit']}, {about['at']}\n"
    )


def _shown(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left", caption="\n".join(table.notes), caption_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(
            column, justify="right" if number else "left", no_wrap=number > 0, min_width=12 if number == 0 else None
        )
    for row in table.rows:
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    sys.exit(main())
