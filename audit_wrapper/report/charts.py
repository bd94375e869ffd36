"""The charts of the page, as plotly figures in JSON. They draw what the tables hold exactly, so floats are enough here."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from audit_wrapper.report.words import alike, duration, exact, harmless, milliseconds, moment, signed

Row = Mapping[str, Any]

# each colour by day and by night; the page swaps them
INK, FAINT, LINE = ("#1c2430", "#dde3ea"), ("#5b6675", "#97a3b3"), ("#d9dee5", "#323b47")
GAIN, LOSS = ("#0b7a5b", "#4cc9a0"), ("#b83a1b", "#ff8f6b")
CALM, COST, FEE = ("#2f5d9b", "#7fb0f0"), ("#b7791f", "#e5b45b"), ("#7a5195", "#c39be0")
BARE, COVERED, PAPER = ("#c2410d", "#ff9a5c"), ("#9fb3c8", "#4a5d73"), ("#fffffe", "#191f27")
SHADES = dict((INK, FAINT, LINE, GAIN, LOSS, CALM, COST, FEE, BARE, COVERED, PAPER))

MOST_BARS = 150


def equity(rows: Sequence[Row], currency: str) -> str:
    """The running sum of net results, and under it how far it is below its highest point."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.06)
    times = [moment(row["closed_at"], to="milliseconds") for row in rows]
    words = [f"position {_told(str(row['position_id']))}: {signed(row['net_result'])}" for row in rows]
    line = {"color": CALM[0], "width": 2, "shape": "hv"}
    few = "lines+markers" if len(rows) <= MOST_BARS else "lines"
    hover = "%{x}<br>%{y}<br>%{text}<extra></extra>"
    curve = {"x": times, "y": _floats(rows, "equity"), "text": words, "mode": few, "line": line, "marker": {"size": 5}}
    figure.add_scatter(**curve, hovertemplate=hover, row=1, col=1)
    below = [None if value is None else -abs(value) for value in _floats(rows, "drawdown")]
    line = {"color": LOSS[0], "width": 1, "shape": "hv"}
    depth = {"x": times, "y": below, "mode": "lines", "line": line, "fill": "tozeroy"}
    figure.add_scatter(**depth, hovertemplate="%{x}<br>%{y}<extra></extra>", row=2, col=1)
    figure.update_yaxes(title_text=f"sum, {_told(currency)}", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="drawdown", row=2, col=1)
    return _drawn(figure, height=340, left=64)


def waterfall(row: Row, currency: str) -> str:
    """From what was intended to what is left, as a waterfall; where no price was meant at all, from the gross result. row: of
    `performance` in figures.sql."""
    names, values = ["gross result"], [row["gross_result"]]
    if row["slippage_known"] is not None:
        names, values = ["intended", "slippage"], [row["intended_known"], -row["slippage_known"]]
    names, values = [*names, "fees", "net result"], [*values, -row["fees"], row["net_result"]]
    figure = go.Figure(
        go.Waterfall(
            x=names,
            y=[float(value) for value in values],
            measure=["absolute", *["relative"] * (len(names) - 2), "total"],
            text=alike(values),
            customdata=[signed(value) for value in values],
            textposition="outside",
            textfont={"size": 11},
            constraintext="none",
            cliponaxis=False,
            increasing={"marker": {"color": GAIN[0]}},
            decreasing={"marker": {"color": LOSS[0]}},
            totals={"marker": {"color": CALM[0]}},
            connector={"line": {"color": FAINT[0], "width": 1, "dash": "dot"}},
            hovertemplate="%{x}: %{customdata}<extra></extra>",
        )
    )
    figure.update_yaxes(title_text=_told(currency))
    return _drawn(figure, height=300, left=64, top=28)


def results(rows: Sequence[Row], currency: str) -> str:
    """One bar for each position, oldest left: what was intended, less slippage, less fees; the mark is what is left. Where no price was
    meant, the gross result less fees.

    rows: with a net result, newest first; the newest `MOST_BARS` are drawn.
    """
    shown = list(reversed(rows[:MOST_BARS]))
    names = [f"{row['position_id']} {row['symbol']}" for row in shown]
    ticks = [_short(str(row["position_id"]), 10) for row in shown]
    figure = go.Figure()
    begun = ["gross result" if row["intended_known"] is None else "intended" for row in shown]
    parts: tuple[tuple[str, str, tuple[str, str], list[Decimal | None]], ...] = (
        (
            "intended",
            "intended, or gross" if "gross result" in begun else "intended",
            CALM,
            [row["gross_result"] if row["intended_known"] is None else row["intended_known"] for row in shown],
        ),
        (
            "slippage",
            "slippage",
            COST,
            [None if row["slippage_known"] is None else -row["slippage_known"] for row in shown],
        ),
        ("fees", "fees", FEE, [-row["fees"] for row in shown]),
    )
    for part, name, colour, values in parts:
        labels = begun if part == "intended" else [part] * len(shown)
        figure.add_bar(
            x=list(range(len(shown))),
            y=[None if value is None else float(value) for value in values],
            name=name,
            marker={"color": colour[0]},
            customdata=[
                [_told(who), label, signed(value)] for who, label, value in zip(names, labels, values, strict=True)
            ],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}: %{customdata[2]}<extra></extra>",
        )
    figure.add_scatter(
        x=list(range(len(shown))),
        y=[float(row["net_result"]) for row in shown],
        mode="markers",
        name="net result",
        marker={"symbol": "diamond", "size": 8, "color": INK[0]},
        customdata=[[_told(who), signed(row["net_result"])] for who, row in zip(names, shown, strict=True)],
        hovertemplate="%{customdata[0]}<br>net result: %{customdata[1]}<extra></extra>",
    )
    step = max(1, math.ceil(len(shown) / 20))
    figure.update_xaxes(tickvals=list(range(0, len(shown), step)), ticktext=ticks[::step], title_text="position")
    figure.update_yaxes(title_text=_told(currency))
    figure.update_layout(barmode="relative", bargap=0.25)
    return _drawn(figure, height=320, left=64, bottom=48, legend=True)


def gaps(stops: Mapping[tuple[str, str, str], Sequence[Row]]) -> str:
    """Each position from its opening to its end as a bar of the same length; the hatched parts had no stop.

    stops: of each (account, exchange, position) its intervals, longest without a stop first: `begins_s` after the opening,
    `lasts_s`, `has_stop`; and `seconds_open`, `seconds_without_stop`, `symbol` of the position.
    """
    shown = list(reversed(list(stops.items())))
    bare = {"color": BARE[0], "line": {"color": BARE[0], "width": 2}}  # the shortest gap is two pixels wide
    hatched = {"shape": "/", "fgcolor": PAPER[0], "size": 5, "solidity": 0.3, "fillmode": "overlay"}
    unsure = {"color": "rgba(0,0,0,0)", "line": {"color": BARE[0], "width": 1}}
    looks: tuple[tuple[bool | None, str, dict[str, Any]], ...] = (
        (True, "with a stop", {"color": COVERED[0]}),
        (None, "not known", unsure),
        (False, "without", {**bare, "pattern": hatched}),
    )
    figure = go.Figure()
    for has_stop, name, marker in looks:
        across = [
            (place, one, float(one["seconds_open"]) or 1.0)
            for place, (_, parts) in enumerate(shown)
            for one in parts
            if one["has_stop"] is has_stop
        ]
        if not across:
            continue
        figure.add_bar(
            base=[100 * float(one["begins_s"]) / whole for _, one, whole in across],
            x=[100 * float(one["lasts_s"]) / whole for _, one, whole in across],
            y=[place for place, _, _ in across],
            customdata=[[moment(one["from_at"], to="milliseconds"), duration(one["lasts_s"])] for _, one, _ in across],
            orientation="h",
            name=name,
            marker=marker,
            hovertemplate="%{customdata[0]}<br>" + name + " for %{customdata[1]}<extra></extra>",
        )
    for place, (_, parts) in enumerate(shown):
        figure.add_annotation(
            x=100, y=place, xanchor="left", xshift=6, showarrow=False, text=duration(parts[0]["seconds_without_stop"])
        )
    names = [_short(f"{key[2]} {parts[0]['symbol']}", 18) for key, parts in shown]
    figure.update_yaxes(tickvals=list(range(len(shown))), ticktext=names, showgrid=False)
    figure.update_xaxes(
        range=[-0.4, 100.4], tickvals=[0, 50, 100], ticktext=["opened", "", "end"], tickangle=0, showgrid=False
    )
    figure.update_layout(barmode="overlay", bargap=0.35)
    return _drawn(figure, height=86 + 24 * max(2, len(shown)), left=124, right=84, bottom=28, legend=True)


def latency(bins: Sequence[Row], summary: Row) -> str:
    """How many requests took how long, on one exchange. bins: `tenth` (of a decade of milliseconds) and `n`."""
    figure = go.Figure()
    left = [row["tenth"] / 10 for row in bins]
    figure.add_bar(
        x=[edge + 0.05 for edge in left],
        y=[row["n"] for row in bins],
        width=0.094,
        marker={"color": CALM[0]},
        customdata=[[f"{10**edge:.3g}", f"{10 ** (edge + 0.1):.3g}"] for edge in left],
        hovertemplate="%{customdata[0]} to %{customdata[1]} ms: %{y}<extra></extra>",
    )
    ends = (math.floor(min(left, default=0)), math.ceil(max(left, default=1) + 0.1))
    decades = list(range(ends[0], ends[1] + 1))
    for name, dash in (("p50", "dash"), ("p99", "dot")):
        at = math.log10(max(float(summary[name]), 0.01))
        figure.add_vline(x=at, line={"color": INK[0], "width": 1, "dash": dash})
        is_left = name == "p50" and at - ends[0] > 0.35 * (ends[1] - ends[0])
        figure.add_annotation(
            x=at,
            y=1,
            yref="paper",
            yanchor="bottom",
            xanchor="right" if is_left or ends[1] - at < 0.25 * (ends[1] - ends[0]) else "left",
            yshift=0 if name == "p50" else 13,
            showarrow=False,
            text=f"{name} {milliseconds(summary[name])} ms",
        )
    figure.update_xaxes(
        range=[ends[0], ends[1]], tickvals=decades, ticktext=[f"{exact(Decimal(10) ** d)} ms" for d in decades]
    )
    few = max((row["n"] for row in bins), default=0) < 5  # there are no half requests
    figure.update_yaxes(title_text="requests", rangemode="tozero", dtick=1 if few else None)
    return _drawn(figure, height=244, left=56, top=34, bottom=30)


def _short(name: str, length: int) -> str:
    return _told(name if len(name) <= length else name[: length - 1] + "\N{HORIZONTAL ELLIPSIS}")


def _told(text: str) -> str:
    """As the library of the charts shows it, which takes some tags for tags."""
    return html.escape(harmless(text))


def _floats(rows: Sequence[Row], column: str) -> list[float | None]:
    return [None if row[column] is None else float(row[column]) for row in rows]


def _drawn(
    figure: go.Figure, *, height: int, left: int, right: int = 12, top: int = 12, bottom: int = 32, legend: bool = False
) -> str:
    axis = {
        "gridcolor": LINE[0],
        "linecolor": LINE[0],
        "zerolinecolor": FAINT[0],
        "color": FAINT[0],
        "automargin": False,
    }
    figure.update_xaxes(**axis, fixedrange=True, zeroline=False)
    figure.update_yaxes(**axis, fixedrange=True)
    figure.update_annotations(font_size=11)
    figure.update_layout(
        height=height,
        margin={"l": left, "r": right, "t": top + (18 if legend else 0), "b": bottom},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK[0]},
        hoverlabel={"bgcolor": INK[0]},
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
        template="none",
    )
    return str(figure.to_json())
