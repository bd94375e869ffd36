"""The figures of a run, put into docs/performance.md: `python -m benchmarks.page build/benchmarks.json [build/growth.json ...]`.

Whether an aim is reached is worked out here as well, from the same figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: python -m benchmarks.page -->", "<!-- end of figures -->"

_OURS, _INLINE, _JOURNAL = "ours, order path alone", "inline logging", "floor: bare append to our journal"
_POWER, _FSYNC = 'ours, durability="power"', "floor: one write and one fsync per record"

Figures = dict[str, Any]


class Aim(NamedTuple):
    """what: is asked for, measured: was found, reached: by each of the figures."""

    what: str
    measured: str
    reached: bool


def main() -> int:
    """Put the figures of these files between the two marks of the page."""
    runs: list[Figures] = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    if not runs:
        sys.exit(__doc__)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{BEGIN}", "", *page(runs), f"{END}{after}"]), encoding="utf-8")
    return 0


def page(runs: list[Figures]) -> Iterator[str]:
    """Lines: the aims; then every table, under the machine, the command and the load it was measured with."""
    together = {part: found for run in runs for part, found in run.items()}
    yield from _markdown(("aim", "measured", ""), [(a.what, a.measured, _verdict(a)) for a in aims(together)])
    for run in runs:
        about = run["machine"]
        parts = {part: found for part, found in run.items() if part not in ("machine", "effort")}
        loads = [load[0] for found in parts.values() for load in (found["load_before"], found["load_after"])]
        versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if version)
        yield (
            f"`{about['command']}`, {about['at'][:10]}, commit {about['commit']}: {about['processor']}, {about['cores']} cores, "
            f"{about['memory_mb']:,} MB, {about['filesystem']}; {about['python']}, {versions}. Load {min(loads):.1f} to {max(loads):.1f}."
        )
        yield ""
        for found in parts.values():
            for table in found["tables"]:
                yield f"**{table['title']}**"
                yield ""
                yield from _markdown(table["columns"], table["rows"])
                if table["notes"]:
                    yield f"{'. '.join(table['notes'])}."
                    yield ""


def aims(found: Figures) -> Iterator[Aim]:
    """Those whose part was measured."""
    for name, part in (
        ("order_path", _of_the_order_path),
        ("loop_lag", _of_the_loop),
        ("delivery", _of_delivery),
        ("footprint", _of_imports),
    ):
        if name in found:
            yield from part(found[name])


def _of_the_order_path(found: Figures) -> Iterator[Aim]:
    both, whole, power = (
        found[name] for name in ("intent and outcome only", "through a manager", "through a loss of power")
    )
    paces = [pace for pace in both if pace not in ("about", "contenders", "tables")]
    added = {q: both[paces[0]][_OURS]["added_us"][q] for q in ("p50", "p99")}
    yield Aim(
        "order path, both records, back to back: p50 at most 80 us", f"{added['p50']:,.0f} us", added["p50"] <= 80
    )
    yield Aim("the same: p99 at most 400 us", f"{added['p99']:,.0f} us", added["p99"] <= 400)
    for records, comparison in (("both records", both), ("three, with the manager's", whole)):
        for pace in paces:
            inline = _times(comparison[pace], _INLINE)
            yield Aim(f"{records}, {pace}: ten times faster than inline logging", *_at_both(inline, lambda x: x >= 10))
            floor = [1 / one for one in _times(comparison[pace], _JOURNAL)]
            yield Aim(f"{records}, {pace}: at most twice our journal's floor", *_at_both(floor, lambda x: x <= 2))
    forced = [1 / one for one in _times(power["back to back"], _FSYNC)]
    yield Aim('`durability="power"`: at most twice its fsync floor', *_at_both(forced, lambda x: x <= 2))


def _of_the_loop(found: Figures) -> Iterator[Aim]:
    bare, *others = found["runs"]
    for name in others:
        p99, worst = (
            median(one["lag_ms"][q] for one in found["runs"][name])
            - median(one["lag_ms"][q] for one in found["runs"][bare])
            for q in ("p99", "worst")
        )
        yield Aim(
            f'the loop\'s lag, `delivery="{name}"`: under 1 ms more at p99, under 5 ms at the worst',
            f"{p99:+.2f} and {worst:+.2f} ms",
            p99 < 1 and worst < 5,
        )


def _of_delivery(found: Figures) -> Iterator[Aim]:
    rate = median(turn["ours_per_s"] for turn in found["turns"])
    share = median(turn["ours_per_s"] / turn["copy_batches_per_s"] for turn in found["turns"])
    yield Aim("delivery: 10,000 records a second", f"{rate:,.0f}", rate >= 10_000)
    yield Aim("delivery: a quarter of what COPY takes", f"{share:.3f}", share >= 0.25)


def _of_imports(found: Figures) -> Iterator[Aim]:
    one = found["imports"]["from audit_wrapper import AuditTrail"]
    cpu, has_driver = median(one["cpu_ms"]), "asyncpg" in one["packages"]
    driver = "with a driver" if has_driver else "no driver"
    yield Aim("import: under 100 ms, no database driver", f"{cpu:.0f} ms, {driver}", cpu < 100 and not has_driver)


def _times(measured: Figures, name: str) -> list[float]:
    """What it adds by what ours adds, at p50 and at p99."""
    return [median(measured[name]["times_ours_of_each_turn"][q]) for q in ("p50", "p99")]


def _at_both(ratios: list[float], holds: Any) -> tuple[str, bool]:
    return f"{ratios[0]:.1f} at p50, {ratios[1]:.1f} at p99", all(map(holds, ratios))


def _verdict(aim: Aim) -> str:
    return "reached" if aim.reached else "**not reached**"


def _markdown(columns: Any, rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
