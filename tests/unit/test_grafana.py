"""The dashboards and alerts ask for what is emitted, and their SQL runs: held against a real trail, SDK and database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import ccxt.async_support as ccxt
import pytest
from meters import Collected, Meters

from audit_wrapper import metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "grafana"
BOARDS = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
ALERTS = (FOLDER / "alerts.yaml").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
LOGS = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")

boards = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))

_NAME = re.compile(r"\baudit_wrapper_\w+")
_SELECTOR = re.compile(r"\b(audit_wrapper_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_BY = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_FUNCTION = re.compile(r"\b([a-z_0-9]+)\s*\(")
_KNOWN = {
    "sum", "min", "max", "by", "rate", "increase", "histogram_quantile", "deriv", "min_over_time", "last_over_time", "label_values",
}  # fmt: skip


# -- a day of a real trail


class Day(NamedTuple):
    found: Collected
    labels: dict[str, set[str]]
    dsn: str


@pytest.fixture(scope="module")
def day(postgres_server: Any, bot_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    database = postgres_server.create(bot_template)
    dsn = postgres_server.address_of(database)
    meters, before = Meters(), metrics._instruments
    metrics._instruments = meters.instruments
    try:
        found = asyncio.run(traded(dsn, tmp_path_factory.mktemp("day") / "audit-journal", meters))
        yield Day(found, found.labels(), dsn)
    finally:
        metrics._instruments = before
        postgres_server.drop(database)


async def traded(dsn: str, journal: Path, meters: Meters) -> Collected:
    """Everything that there is a panel for happens once: also a refusal, a lost answer, an unexplained request, a failure."""
    from audited import SYMBOL, UNIFIED, audited
    from simulated_exchange import DropRequest, Reject, SimulatedExchange

    with SimulatedExchange("binance") as sim:
        async with audited(sim, dsn, journal) as desk:
            client = desk.manager.exchange
            await desk.open()
            await desk.manager.close_position(SYMBOL)
            sim.next("create", Reject(-2019, "Margin is insufficient."))
            with contextlib.suppress(ccxt.BaseError):
                await client.create_order(UNIFIED, "market", "buy", 10)
            with contextlib.suppress(ccxt.BaseError):
                await client.fapiPrivatePostConvertAcceptQuote({"quoteId": "1"})
            await desk.trail.reconcile()
            sim.next("create", DropRequest())
            with contextlib.suppress(ccxt.BaseError):  # where no position is open that it could be linked to
                await client.create_order("BTC/USDT:USDT", "market", "buy", 0.05)
            await desk.trail.reconcile()
            desk.trail.observe("binance", "this is no message")
            assert await desk.trail.flush()
            async with asyncio.timeout(20):
                while desk.trail.status().outage_hours_left is None or not desk.trail._metrics.journal_bytes:
                    await asyncio.sleep(0.01)
            return meters.collect()


def test_the_document_has_every_instrument_as_it_is_emitted(day: Day) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in METRICS.splitlines() if line.startswith("| `")
    ]
    kinds = {"Histogram": "histogram", "Gauge": "gauge"}
    emitted = {}
    for name, metric in day.found.metrics.items():
        data = metric.data
        kind = kinds.get(type(data).__name__) or ("counter" if data.is_monotonic else "up-down counter")
        more = {key for point in data.data_points for key in point.attributes} - {"account", "journal"}
        shown = min(key.removesuffix("_bucket") for key in day.labels if key in _prometheus(metric))
        emitted[name] = (kind, metric.unit, more, shown)
    told = {
        row[0].strip("`"): (row[1], row[2].strip("`"), set(re.findall(r"`(\w+)`", row[3])), row[4].strip("`"))
        for row in rows
    }
    assert told == emitted


def _prometheus(metric: Any) -> set[str]:
    from meters import prometheus_names

    return prometheus_names(metric)


# -- what is asked of Prometheus


def promql() -> dict[str, str]:
    """Every expression, by where it stands."""
    found = {f"alert {name}": expr for name, expr in alerts().items()}
    for file, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                if "expr" in target:
                    found[f"{file}: {panel['title']} {target['refId']}"] = target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query" and isinstance(variable["query"], dict):
                found[f"{file}: ${variable['name']}"] = variable["query"]["query"]
    return found


def alerts() -> dict[str, str]:
    """The expressions of the alert rules; each stands on one line, in single quotes."""
    return dict(re.findall(r"^      - alert: (\w+)\n        expr: '(.*)'$", ALERTS, re.MULTILINE))


def test_everything_asked_for_is_emitted(day: Day) -> None:
    asked = promql()
    assert len(asked) > 30
    for place, expression in asked.items():
        for name, matchers in _SELECTOR.findall(expression):
            assert name in day.labels, f"{place}: nothing of this name is emitted"
            for label, _ in _MATCHER.findall(matchers):
                assert label in day.labels[name], f"{place}: {name} has no {label}"
        emitted = set.intersection(*(day.labels[name] for name in _NAME.findall(expression)))
        for names in _BY.findall(expression):
            assert {name.strip() for name in names.split(",")} <= emitted, place


def test_everything_emitted_is_shown(day: Day) -> None:
    shown = {name for place, expression in promql().items() if ".json" in place for name in _NAME.findall(expression)}
    for metric in day.found.metrics.values():
        assert _prometheus(metric) & shown, f"no panel shows {metric.name}"


def test_labels_in_words_are_emitted(day: Day) -> None:
    for file, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                if "expr" in target:
                    emitted = set.intersection(*(day.labels[name] for name in _NAME.findall(target["expr"])))
                    by = {name.strip() for names in _BY.findall(target["expr"]) for name in names.split(",")}
                    used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                    assert used <= emitted & by, f"{file}: {panel['title']}"
    for name, words in re.findall(r"- alert: (\w+)\n(.*?)(?=- alert|\Z)", ALERTS, re.DOTALL):
        emitted = set.intersection(*(day.labels[one] for one in _NAME.findall(alerts()[name])))
        assert set(re.findall(r"\$labels\.(\w+)", words)) <= emitted, name


def test_the_expressions_are_well_formed() -> None:
    for place, expression in promql().items():
        bare = re.sub(r'"[^"]*"', '""', expression)
        for opening, closing in ("()", "{}", "[]"):
            assert bare.count(opening) == bare.count(closing), place
        assert set(_FUNCTION.findall(bare)) - {"and", "or", "unless"} <= _KNOWN, place
        for name in re.findall(r"(?:rate|increase)\((\w+)", bare):
            assert name.endswith(("_total", "_bucket", "_count", "_sum")), f"{place}: {name} is no counter"
        for name in re.findall(r"(?:deriv|min_over_time|last_over_time)\((\w+)", bare):
            assert not name.endswith(("_total", "_bucket")), f"{place}: {name} is a counter"


def test_kinds_of_failure_in_alerts_are_those_of_the_document() -> None:
    section = LOGS.partition("## Kinds of failure")[2]
    kinds = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    used = {
        kind
        for expression in alerts().values()
        for label, value in _MATCHER.findall(expression)
        for kind in value.split("|")
        if label == "kind"
    }
    assert used
    for kind in used:
        assert any(re.fullmatch(kind, known) for known in kinds), kind


# -- the alerts' file


def test_the_alerts_are_yaml_and_say_what_to_do() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    (group,) = yaml.safe_load(ALERTS)["groups"]
    assert {rule["alert"]: rule["expr"] for rule in group["rules"]} == alerts(), "each is found without YAML too"
    assert len(group["rules"]) == ALERTS.count("- alert:")
    for rule in group["rules"]:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert "\n" not in rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 80, "what to do, in words"
        for words in rule["annotations"].values():
            assert words.count("{{") == words.count("}}")


def test_every_alert_can_be_found_without_yaml() -> None:
    assert len(alerts()) == ALERTS.count("- alert:") == ALERTS.count("expr:") >= 10


# -- the dashboards' files


@boards
def test_a_dashboard_can_be_imported(board: dict[str, Any]) -> None:
    panels = board["panels"]
    assert board["id"] is None, "Grafana gives it one"
    assert len(board["uid"]) <= 40
    assert board["schemaVersion"] >= 39
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    sources = {f"${{{name}}}": one["query"] for name, one in variables.items() if one["type"] == "datasource"}
    assert sources
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0 <= place["y"]
        assert place["w"] > 0 < place["h"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith((".", ")", "questions")), panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert sources[source["uid"]] == source["type"], "a variable, not a data source of somebody's"
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([panel.get("targets") for panel in panels])))
    assert used <= variables.keys() | {"prometheus", "postgres"}


def test_the_dashboards_are_told_apart() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == 2
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


# -- what is asked of PostgreSQL


def queries() -> dict[str, str]:
    found = {}
    for board in BOARDS.values():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                if "rawSql" in target:
                    found[f"{panel['title']} {target['refId']}"] = target["rawSql"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query" and isinstance(variable["query"], str):
                found[f"${variable['name']}"] = variable["query"]
    return found


def as_grafana_sends_it(query: str) -> str:
    """With the macros of Grafana's PostgreSQL data source written out."""
    first, last = "'2020-01-01T00:00:00Z'", "'2100-01-01T00:00:00Z'"
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {first} AND {last}", query)
    query = re.sub(
        r"\$__timeGroupAlias\((\w+), *\$__interval\)", r'floor(extract(epoch from \1)/60)*60 AS "time"', query
    )
    query = query.replace("$__timeFrom()", first).replace("$__timeTo()", last)
    query = query.replace("${account:sqlstring}", "'default','other'")
    assert "$" not in query, query
    return query


async def test_the_queries_run_and_show_what_happened(day: Day) -> None:
    asked = queries()
    assert len(asked) >= 12
    connection = await asyncpg.connect(day.dsn)
    try:
        rows = {place: await connection.fetch(as_grafana_sends_it(query)) for place, query in asked.items()}
    finally:
        await connection.close()
    assert {place for place, found in rows.items() if not found} == set(), "something of each kind has happened"
    assert rows["$account"] == [("default",)]
    (position,) = rows["Positions A"]
    assert position["side"] == "long"
    assert position["net_result"] is not None, position["why_not"]
    (equity,) = rows["Equity A"]
    assert equity["equity"] == position["net_result"] == rows["Net result A"][0]["net result"]
    (refused,) = rows["Refused orders A"]
    assert (refused["code"], refused["reason"], refused["n"]) == ("-2019", "Margin is insufficient.", 1)
    kinds = {row["kind"]: row["n"] for row in rows["Open questions A"]}
    assert kinds["unknown"] >= 1
    assert "unattributed" in kinds
    answers = {row["outcome"] for row in rows["Answers A"]}
    assert {"acknowledged", "rejected", "outcome_unknown"} <= answers
    assert rows["Day by day A"][0]["positions_closed"] == 1
