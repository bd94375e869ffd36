"""What is written down: the record, and the values read from it.

A record is evidence: the call as it was made, the request as it left, the answer as it came. It is written once, on
the order path, and never changed. What it *means* for an order (its state, its fills, its fees) is read from the
evidence later, right of the border, so that a mistake in reading can be mended and the tables rebuilt.

Words follow FIX: a record's *kind* says what happened, an order's *status* says how it stands; they are kept apart.
All times are timezone-aware UTC. All quantities, prices and fees are `Decimal`; None means unknown, never zero.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, SafeUUID

import msgspec
import uuid_utils


class RecordKind(StrEnum):
    """What happened."""

    INTENT = "intent"  # an order-affecting call is about to leave; written before it does
    ACKNOWLEDGED = "acknowledged"  # the exchange took it (an order may still be open, partly or wholly filled)
    UNCHANGED = "unchanged"  # the exchange answered that it already was so (a stop that stood there before)
    REJECTED = "rejected"  # the exchange refused, in its own words
    NOT_SENT = "not_sent"  # it never left: refused by the client or the bot itself
    OUTCOME_UNKNOWN = "outcome_unknown"  # it left, and no answer came that can be trusted
    REPORTED = "reported"  # what the bot's own manager said of its call; kept beside, never believed over the exchange
    LINKED = "linked"  # a position was seen to own an order or what follows in its scope
    RECONCILED = "reconciled"  # what the exchange said when it was asked
    OBSERVED = "observed"  # what the exchange pushed, handed in with `observe`
    MATCHED = "matched"  # which order of the exchange an unanswered request turned out to be, or that it is none
    COVERED = "covered"  # a time range of the exchange's history was read to its end
    UNATTRIBUTED = "unattributed"  # a private write that nothing else explains
    GAP = "gap"  # records are missing here; `reason` says how many and why, as far as that is known


class Action(StrEnum):
    """What a call asks of the exchange."""

    PLACE = "place"
    AMEND = "amend"
    CANCEL = "cancel"
    CANCEL_ALL = "cancel_all"
    SET_STOPS = "set_stops"  # stop-loss, take-profit or trailing stop attached to a position
    CLOSE = "close"
    ACCOUNT = "account"  # leverage, margin mode and the like: private writes that touch no order
    POSITION = "position"  # the bot opens or updates a row of its own positions table
    ASK = "ask"  # a read of ours, for reconciliation
    OTHER = "other"


class Purpose(StrEnum):
    """What the bot meant by it. None where nothing says so."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    CANCEL = "cancel"


class Seam(StrEnum):
    """Where it was seen."""

    MANAGER = "manager"
    CLIENT = "client"
    TRANSPORT = "transport"
    REPOSITORY = "repository"
    USER = "user"
    RECONCILE = "reconcile"


class OrderStatus(StrEnum):
    """How an order stands: FIX OrdStatus (tag 39) words, and two of ours."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"  # ours: it left and nobody has said yet what became of it
    MODIFIED = "MODIFIED"  # ours: an attached stop that another one took the place of


class Origin(StrEnum):
    """Who sent an order."""

    BOT = "bot"  # sent through this trail
    EXTERNAL = "external"  # found at the exchange: by hand, by another bot, or by this one before it had a trail
    BACKFILLED = "backfilled"  # the same, found by a backfill only
    LIQUIDATION = "liquidation"  # the exchange itself, as the three below
    AUTO_DELEVERAGING = "auto_deleveraging"
    SETTLEMENT = "settlement"


class Source(StrEnum):
    """Where a fill is known from."""

    ANSWER = "answer"  # the answer to a request of the bot
    RECONCILED = "reconciled"  # the exchange was asked
    OBSERVED = "observed"  # the exchange said so by itself
    BACKFILLED = "backfilled"


class FeeStatus(StrEnum):
    """What is known about a fee."""

    REPORTED = "reported"  # the exchange named the amount and the currency
    DERIVED = "derived"  # computed from a rate the exchange named
    PENDING = "pending"  # something was filled, the fee is not known yet
    MISSING = "missing"  # the exchange was asked and does not say
    SEVERAL = "several_currencies"  # charged in more than one currency; the fills have the detail
    NONE_DUE = "none_due"  # nothing was filled, so nothing is charged


class Cause(StrEnum):
    """Why an order came to be that nobody sent: the exchange itself made it."""

    LIQUIDATION = "liquidation"
    AUTO_DELEVERAGING = "auto_deleveraging"
    SETTLEMENT = "settlement"  # delivery or delisting


class Liquidity(StrEnum):
    """Which side of the book a fill took."""

    MAKER = "maker"
    TAKER = "taker"


_set_number, _set_safety = vars(UUID)["int"].__set__, vars(UUID)["is_safe"].__set__
_SAFETY = SafeUUID.unknown


def uuid7() -> UUID:
    """A UUIDv7, in half the time that `UUID` takes to check and to keep what it is made of."""
    made = object.__new__(UUID)
    _set_number(made, uuid_utils.uuid7().int)
    _set_safety(made, _SAFETY)
    return made


class _Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Out of the collector's sight: it holds values and what JSON can say, so it is never a part of a cycle."""


class Fee(_Value, frozen=True, kw_only=True):
    """One fee in one currency. `amount` is positive when charged, negative for a rebate, None when not known."""

    amount: Decimal | None = None
    currency: str | None = None
    rate: Decimal | None = None
    status: FeeStatus = FeeStatus.MISSING


class Fill(_Value, frozen=True, kw_only=True):
    """One execution of an order. `quantity` is in contracts for contracts, in base currency for spot."""

    exchange_trade_id: str | None = None
    exchange_order_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    fee: Fee = Fee()
    liquidity: Liquidity | None = None
    exchange_at: datetime | None = None
    cause: Cause | None = None  # set where the exchange says that nobody sent the order


class OrderState(_Value, frozen=True, kw_only=True):
    """An order as one answer shows it. None: that answer does not say.

    `side` is "buy" or "sell". `type` is upper case: MARKET, LIMIT, STOP_MARKET, STOP_LIMIT, TAKE_PROFIT,
    TRAILING_STOP_MARKET, STOP_LOSS (attached to a position), or the exchange's own word where no such name fits.
    `exchange_status` is the exchange's own word, untouched.
    """

    exchange_order_id: str | None = None
    client_order_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    type: str | None = None
    order_status: OrderStatus | None = None
    quantity: Decimal | None = None
    filled_quantity: Decimal | None = None
    remaining_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    average_price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool | None = None
    fees: tuple[Fee, ...] = ()
    fills: tuple[Fill, ...] = ()
    exchange_status: str | None = None
    created_at: datetime | None = None  # by the exchange's clock
    exchange_at: datetime | None = None  # the last change, by the exchange's clock
    cause: Cause | None = None  # set where the exchange says that nobody sent it


class Market(_Value, frozen=True, kw_only=True):
    """What the client knows of the instrument, taken at the time of the call."""

    symbol: str | None = None  # ccxt's unified spelling: MNT/USDT:USDT
    exchange_symbol: str | None = None  # the exchange's own: MNTUSDT
    base: str | None = None
    quote: str | None = None
    settle: str | None = None
    type: str | None = None  # spot, swap, future, option
    contract_size: Decimal | None = None


class Operation(_Value, frozen=True, kw_only=True):
    """The outermost call of the bot that a record belongs to: one story, one `correlation_id`."""

    correlation_id: UUID
    method: str | None = None
    purpose: Purpose | None = None


class Call(_Value, frozen=True, kw_only=True):
    """A call as the bot made it, its arguments by name (a snapshot; secrets removed)."""

    seam: Seam
    target: str  # the class that was called: ExchangeManager, StopLossManager, binance, ...
    method: str
    arguments: dict[str, Any] = {}


class Request(_Value, frozen=True, kw_only=True):
    """One HTTP request as it left: signature, keys and headers removed. `path` has no host and no query."""

    method: str
    path: str
    params: Any = None


class Response(_Value, frozen=True, kw_only=True):
    """One HTTP answer: its status and its exact text (None: no answer came)."""

    http_status: int | None = None
    text: str | None = None


class Failure(_Value, frozen=True, kw_only=True):
    """An exception as the bot saw it. `bases` are the names of its classes, nearest first."""

    type: str
    message: str = ""
    bases: tuple[str, ...] = ()
    cause: str | None = None
    code: str | None = None  # the exchange's own code where the message or the answer names one


class PositionLink(_Value, frozen=True, kw_only=True):
    """Which position of the bot an order belongs to, and how that is known."""

    position_id: str | None = None
    signal_id: int | None = None
    exchange: str | None = None
    symbol: str | None = None  # the spelling of the bot's positions table
    side: str | None = None  # buy or sell: the side that opens it
    exchange_order_id: str | None = None  # the entry's, where the bot's row names it
    how: str = "scope"  # scope, atomic, repository, positions_table:order_id, positions_table:open_interval
    intended_price: Decimal | None = None
    intended_stop: Decimal | None = None


class FoundBy(StrEnum):
    """How it became known what an unanswered request came to."""

    CLIENT_ORDER_ID = "client_order_id"
    UNIQUE_MATCH = (
        "unique_match"  # the only order of its symbol, side, type, quantity and prices in the time it was sent
    )
    ABSENCE = "absence"  # asked for after it must be findable and before it is forgotten, the exchange has none


class Match(_Value, frozen=True, kw_only=True):
    """What an order without an id turned out to be. `part`: which order of the request. No id: there is no such order."""

    intent_id: UUID
    part: str
    found_by: FoundBy
    exchange_order_id: str | None = None
    id_kind: str = "order"
    symbol: str | None = None


class Record(_Value, frozen=True, kw_only=True):
    """One line of the trail. Which fields are set depends on `kind`; what is not known is None.

    `intent_id` ties an outcome to its intent. `attempt` counts the requests one call sent (1 = first; 0 = the
    requests themselves could not be seen, as with a mocked client). `called_at` is when the call began (of an attempt
    after the first: when that was about to be sent), `answered_at` when its outcome was known. `duration_us` is how long
    the HTTP attempt took, from its leaving to its answer or failure, in microseconds by a clock that is never set; None
    where the wire cannot be seen, or nothing left. A rate limiter may let a call wait before it is sent: the attempt left
    at `answered_at - duration_us`.
    """

    version: int
    record_id: UUID
    kind: RecordKind
    action: Action = Action.OTHER
    exchange: str | None = None
    account: str = "default"
    operation: Operation | None = None
    intent_id: UUID | None = None
    attempt: int = 0
    purpose: Purpose | None = None
    call: Call | None = None  # the call that touches the exchange, as near to it as could be seen
    meant: Call | None = None  # the bot's own call around it (a manager's method), where there is one
    market: Market | None = None
    request: Request | None = None
    response: Response | None = None
    result: Any = None
    failure: Failure | None = None
    position: PositionLink | None = None
    replaces: tuple[str, ...] = ()  # orders this operation canceled before it placed this one: kind:id:symbol
    match: Match | None = None
    reason: str | None = None
    called_at: datetime | None = None
    answered_at: datetime | None = None
    duration_us: int | None = None
