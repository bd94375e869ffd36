"""How each figure is computed, in a sentence or two, and where anybody can ask for it."""

from __future__ import annotations

from typing import NamedTuple


class Explained(NamedTuple):
    """label: as on the page. how: whole sentences. view: what to query, and its columns."""

    label: str
    how: str
    view: str


_POSITIONS = "audit.v_positions"
_PERFORMANCE = "audit.v_performance"

EXPLAINED = {
    "intended": Explained(
        "Intended result",
        "What the positions would have come to, without fees, if every order had been executed at the price it was meant for: "
        "a market entry at the price the bot opened the position for, a limit order at its limit, a stop at its trigger. Where no "
        "price was meant (a close at the market), the price that was paid stands for it.",
        f"{_POSITIONS}: gross_result + entry_slippage + exit_slippage",
    ),
    "gross_result": Explained(
        "Gross result",
        "What the fills of the closed positions brought in, less what they cost, before fees: intended result - slippage.",
        f"{_POSITIONS}: gross_result",
    ),
    "slippage": Explained(
        "Slippage and spread",
        "How much worse than intended the orders were executed: (average price - intended price) x quantity for what was bought, the "
        "other way round for what was sold. Above 0 is a cost, below 0 a better price. Half the spread is in it, since a market "
        "order pays it. Where no price was meant, nobody knows it: a dash, or what is known of the entry or the exit alone, and so "
        "marked; sums say of how many positions they are.",
        f"{_POSITIONS}: entry_slippage, exit_slippage; audit.v_slippage: slippage",
    ),
    "fees": Explained(
        "Fees",
        "The fees that the exchanges named for the fills, in the currency of the result. Above 0 is a cost, below 0 a rebate. Fees "
        "in other currencies are named beside it and never converted or added.",
        f"{_POSITIONS}: fees, fees_other",
    ),
    "net_result": Explained(
        "Net result",
        "What the fills of the closed positions brought in, less what they cost, less fees in the same currency: gross result - "
        "fees, to the last digit. Funding is not in it: it belongs to no position.",
        f"{_POSITIONS}: net_result; {_PERFORMANCE}: net_result",
    ),
    "win_rate": Explained(
        "Win rate",
        "Positions with a net result above 0, of all closed positions whose result is known.",
        f"{_PERFORMANCE}: wins, losses, positions, win_rate",
    ),
    "profit_factor": Explained(
        "Profit factor",
        "The sum of all net results above 0, divided by the sum of all below 0 without its sign. Above 1, the wins are worth more. "
        "Not known where nothing was lost.",
        f"{_PERFORMANCE}: profit_factor",
    ),
    "sharpe": Explained(
        "Sharpe",
        "The average net result of a position, divided by the standard deviation (of a sample) of the net results. Per closed "
        "position, without a risk-free rate, not annualised: compare it only with figures computed the same way.",
        f"{_PERFORMANCE}: sharpe",
    ),
    "average_win": Explained(
        "Average win", "The average of the net results above 0.", f"{_PERFORMANCE}: average_win"
    ),
    "average_loss": Explained(
        "Average loss", "The average of the net results below 0.", f"{_PERFORMANCE}: average_loss"
    ),
    "max_drawdown": Explained(
        "Largest drawdown",
        "The most that the sum of net results was below its highest point so far; that point is never below 0.",
        f"{_PERFORMANCE}: max_drawdown",
    ),
    "equity": Explained(
        "Equity",
        "The sum of the net results of all positions closed so far, in the order of their closing, with 0 where the range begins. It is "
        "not the balance of the account: deposits, funding and open positions are not in it.",
        "audit.v_equity: equity",
    ),
    "drawdown": Explained(
        "Drawdown",
        "Drawdown is how far equity is below its highest point so far.",
        "audit.v_equity: drawdown",
    ),
    "costs": Explained(
        "Result per position",
        "Intended result - slippage = gross result, gross result - fees = net result, for each position and for their sum, to the last "
        "digit. A position counts when it was closed in the range, and its result is known only when all of its fills and fees are. Those "
        "that were still open at the end of the range are shown, and count in no sum.",
        f"{_POSITIONS}: entry_slippage, exit_slippage, fees, gross_result, net_result, why_not",
    ),
    "stops": Explained(
        "Time without a stop",
        "From the first fill of a position to its last, or until now: the time in which no stop of this position stood at the exchange. A "
        "stop stands from the answer that took it to its end. Not known where nobody knows whether a stop stands.",
        f"audit.v_position_stops; {_POSITIONS}: seconds_without_stop",
    ),
    "rejections": Explained(
        "Rejections",
        "Orders that the exchange refused, by its own code and words.",
        "audit.v_rejections",
    ),
    "latency": Explained(
        "Latency",
        "From the moment the bot called to the moment it had its answer, for each request that places, changes or cancels orders; waiting "
        "for a rate limit is in it. p50 is the time in which half of the requests were answered, p99 the time for 99 of 100: "
        "each is a time that was measured.",
        "audit.v_latency: milliseconds",
    ),
    "questions": Explained(
        "Open questions",
        "Orders whose outcome nobody knows, that belong to no position, have no id or no fee yet; requests that nothing explains; records "
        "that are missing or could not be stored. Those from before the range count too, since they are still open.",
        "audit.v_open_questions",
    ),
    "orders": Explained(
        "Orders",
        "Every order that was created in the range, as it stands now, with the price that was meant for it and what it cost not to get it.",
        "audit.v_orders; audit.v_slippage: intended_price, slippage",
    ),
    "fills": Explained("Fills", "Every execution in the range that the exchange showed.", "audit.fills"),
}  # fmt: skip
