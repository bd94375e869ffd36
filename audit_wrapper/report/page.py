"""The page: figures that are read already, put into words, charts and tables. Nothing is computed but how it looks."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from audit_wrapper.report import charts, words
from audit_wrapper.report.explained import EXPLAINED
from audit_wrapper.tables.figures import Figures, Row, of_so_many

_HERE = files("audit_wrapper.report")
_SECTIONS = (
    ("figures", "Result"),
    ("equity", "Equity"),
    ("positions", "Positions"),
    ("stops", "Stops"),
    ("rejections", "Rejections"),
    ("latency", "Latency"),
    ("questions", "Open questions"),
    ("orders", "Orders"),
    ("fills", "Fills"),
    ("how", "How it is computed"),
)


@dataclass(frozen=True)
class About:
    """What the page says of itself. range: in words. made_from: what it was made from, names and values. command: makes it
    again. export: the command that gives all rows of a long table, by the table's name."""

    range: str
    made_from: Sequence[tuple[str, str]]
    command: str
    export: Mapping[str, str]


class _Charts(dict[str, Markup]):
    """Figures in JSON by the id of the element that holds them."""

    def draw(self, figure: str) -> str:
        name = f"figure-{len(self) + 1}"
        self[name] = _in_script(figure)
        return name


@dataclass
class _Account:
    """One account and currency: its figures in words, and the ids of its charts."""

    account: str
    currency: str
    figures: Row
    ledger: list[Mapping[str, str]]
    items: list[Mapping[str, str]]
    sentences: list[str] = field(default_factory=list)
    equity: str | None = None
    points: int = 0
    points_of: int = 0
    waterfall: str | None = None
    bars: str | None = None
    bars_of: int = 0
    spoken: str = ""


def render(figures: Figures, about: About) -> str:
    """The whole page. It needs nothing else when it is opened, no network either."""
    drawn = _Charts()
    accounts = [_account(figures, row, drawn) for row in figures.performance]
    gaps, gaps_words = _gaps(figures, drawn)
    scripts = {"plotly": get_plotlyjs(), "charts_js": _text("charts.js"), "table_js": _text("table.js")}
    page = _environment().from_string(_text("page.html.j2"))
    return page.render(
        figures=figures,
        about=about,
        accounts=accounts,
        charts=drawn,
        explained=EXPLAINED,
        gaps=gaps,
        gaps_words=gaps_words,
        latencies=_latencies(figures, drawn),
        most_bars=charts.MOST_BARS,
        nothing=words.NOTHING,
        policy=_policy(scripts.values()),
        rejections_most=max((row["n"] for row in figures.rejections), default=1),
        sections=[one for one in _SECTIONS if accounts or one[0] != "equity"],
        several_accounts=len({row["account"] for row in (*figures.accounts, *figures.positions)}) > 1,
        shades=_in_script(msgspec.json.encode(charts.SHADES).decode()),
        style=_ours(_text("style.css")),
        **{name: _ours(text) for name, text in scripts.items()},
    )


def _account(figures: Figures, one: Row, drawn: _Charts) -> _Account:
    def of_it(rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if (row["account"], row["currency"]) == (one["account"], one["currency"])]

    made = _Account(
        account=str(one["account"]),
        currency=str(one["currency"] or "currency not known"),
        figures=one,
        ledger=_ledger(one),
        items=_items(one),
    )
    made.sentences = _beside(one, of_it(figures.funding))
    curve = of_it(figures.equity)
    if curve:
        made.points, made.points_of = len(curve), of_so_many(curve)
        made.equity = drawn.draw(charts.equity(curve, made.currency))
    if one["positions"]:
        closed = [row for row in of_it(figures.positions) if row["net_result"] is not None]
        made.bars_of = int(one["positions"])
        made.waterfall = drawn.draw(charts.waterfall(one, made.currency))
        made.bars = drawn.draw(charts.results(closed, made.currency))
        made.spoken = ", ".join(f"{row['label']} {row['text']}" for row in made.ledger)
    return made


def _ledger(costs: Row) -> list[Mapping[str, str]]:
    if not costs["positions"]:
        return []
    names = ("intended_known", "slippage_known", "gross_result", "fees", "net_result")
    keys = ("intended", "slippage", "gross_result", "fees", "net_result")
    texts = words.aligned([costs[name] for name in names])
    rows: list[Mapping[str, str]] = []
    for name, key, text in zip(names, keys, texts, strict=True):
        value = costs[name]
        is_cost = key in ("slippage", "fees")
        if value is None:
            pass
        elif is_cost:  # it is taken off: a cost stands with a minus, a gain with a plus
            text = f"-{text}" if value > 0 else f"+{text.removeprefix('-')}" if value < 0 else text
        elif value > 0:
            text = f"+{text}"
        rows.append(
            {
                "key": key,
                "label": EXPLAINED[key].label,
                "text": text,
                "kind": {"net_result": "sum", "gross_result": "sub"}.get(key, "part"),
                "colour": "" if is_cost else _colour(value),
                "of": _of_how_many(costs) if key in ("intended", "slippage") and value is not None else "",
            }
        )
    return rows


def _of_how_many(costs: Row) -> str:
    """Of how many positions the slippage is known, where it is not all of them."""
    whole, in_part, positions = costs["slippage_positions"], costs["slippage_in_part"], costs["positions"]
    if whole == positions:
        return ""
    return f"of {whole} of {positions} positions" + (f", in part of {in_part} more" if in_part else "")


def _items(one: Row) -> list[Mapping[str, str]]:
    def item(key: str, text: str, colour: str = "", more: str = "") -> Mapping[str, str]:
        return {"key": key, "text": text, "colour": colour, "more": more}

    even = one["positions"] - one["wins"] - one["losses"]
    counted = f"{one['wins']} won, {one['losses']} lost" + (f", {even} even" if even else "")
    return [
        item("win_rate", words.percent(one["win_rate"]), more=counted),
        item("profit_factor", words.ratio(one["profit_factor"], 2)),
        item("sharpe", words.ratio(one["sharpe"], 3), more="per position"),
        item("average_win", words.gained(one["average_win"]), _colour(one["average_win"])),
        item("average_loss", words.gained(one["average_loss"]), _colour(one["average_loss"])),
        item("max_drawdown", words.money(one["max_drawdown"])),
    ]


def _beside(costs: Row, funding: Sequence[Row]) -> list[str]:
    """What is not in the ledger, and why."""
    said = []
    counted = (("entries_not_meant", "entries"), ("exits_not_meant", "exits"))
    not_meant = [f"{costs[name]} {word}" for name, word in counted if costs[name]]
    if not_meant:
        said.append(
            f"The slippage of {' and '.join(not_meant)} is not known and not in it: no price was meant for them."
        )
    if costs["fees_other"]:
        said.append(f"Fees in other currencies, not in it: {words.currencies(costs['fees_other'])}.")
    if funding:
        amounts = ", ".join(
            f"{words.signed(row['amount'])} {row['currency']} ({row['payments']} payments)" for row in funding
        )
        said.append(f"Funding, not in it, since it belongs to no position: {amounts}.")
    return said


def _gaps(figures: Figures, drawn: _Charts) -> tuple[str | None, str]:
    positions = {(row["account"], row["exchange"], row["position_id"]): row for row in figures.positions}
    stops: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in figures.gaps:
        key = row["account"], row["exchange"], row["position_id"]
        stops[key].append({**positions[key], **row})
    if not stops:
        return None, ""
    said = f"The {len(stops)} positions that were longest without a stop, each" if len(stops) > 1 else "The position"
    shown = "" if of_so_many(figures.positions) == len(positions) else f" (of the newest {len(positions)})"
    return drawn.draw(charts.gaps(stops)), f"{said} from its opening to its end{shown}"


def _latencies(figures: Figures, drawn: _Charts) -> list[Mapping[str, Any]]:
    made: list[Mapping[str, Any]] = []
    for row in figures.latency:
        if row["action"] is not None:
            continue
        bins = [one for one in figures.latency_bins if one["exchange"] == row["exchange"]]
        spoken = f"{row['exchange']}: half answered within {words.milliseconds(row['p50'])} ms, 99 of 100 within "
        made.append(
            {
                **row,
                "chart": drawn.draw(charts.latency(bins, row)) if bins else None,
                "spoken": f"{spoken}{words.milliseconds(row['p99'])} ms",
            }
        )
    return made


def _colour(value: Any) -> str:
    return "gain" if value is not None and value > 0 else "loss" if value is not None and value < 0 else ""


def _environment() -> Environment:
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_harmless
    )
    filters = (words.exact, words.signed, words.plain, words.duration, words.moment, words.currencies)
    made.filters.update({one.__name__: one for one in filters})
    made.globals.update(of_so_many=of_so_many, of_how_many=_of_how_many)
    return made


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _harmless(value: Any) -> Any:
    return words.harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _ours(text: str) -> Markup:
    """What comes with the package, or with plotly, and from nowhere else."""
    return Markup(text)  # noqa: S704


def _in_script(text: str) -> Markup:
    """JSON that cannot end the element it stands in, whatever is in its texts."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def _policy(scripts: Iterable[str]) -> str:
    """What the browser may do with the page: run these scripts and no other, and ask the network for nothing."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
