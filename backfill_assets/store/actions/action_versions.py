"""Corporate actions of all kinds as one list, with what the vendor listed of them before. Reads only.

Each kind is written by a module of its own; what they do to prices is in functions of the schema.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from backfill_assets.store.postgres.connection import Connection

_SELECT_VERSIONS = """
WITH versions AS (
    SELECT 'split' AS kind, symbol_id, ex_date, '' AS period, new_shares, old_shares, ratio, NULL::numeric AS amount,
           NULL::text AS currency, NULL::date AS cum_day, NULL::int AS sessions, contradiction, source, first_seen,
           coalesce(revised_at, first_seen) AS known_from, withdrawn_at AS known_until, true AS is_last
    FROM backfill.splits
    UNION ALL
    SELECT 'split', symbol_id, ex_date, '', r.new_shares, r.old_shares, r.ratio, NULL, NULL, NULL, NULL,
           r.contradiction, r.source, coalesce(s.first_seen, r.known_from), r.known_from, r.known_until, false
    FROM backfill.split_revisions r LEFT JOIN backfill.splits s USING (symbol_id, ex_date)
    UNION ALL
    SELECT 'dividend', symbol_id, ex_date, period, NULL, NULL, NULL, amount, currency, cum_day, NULL, contradiction,
           source, first_seen, coalesce(revised_at, first_seen), withdrawn_at, true
    FROM backfill.dividends
    UNION ALL
    SELECT 'dividend', symbol_id, ex_date, period, NULL, NULL, NULL, r.amount, r.currency, r.cum_day, NULL,
           r.contradiction, r.source, coalesce(d.first_seen, r.known_from), r.known_from, r.known_until, false
    FROM backfill.dividend_revisions r LEFT JOIN backfill.dividends d USING (symbol_id, ex_date, period)
    UNION ALL
    SELECT 'spinoff', symbol_id, ex_date, '', NULL, NULL, factor, NULL, NULL, NULL, sessions, NULL, source, first_seen,
           coalesce(revised_at, first_seen), withdrawn_at, true
    FROM backfill.spinoffs
    UNION ALL
    SELECT 'spinoff', symbol_id, ex_date, '', NULL, NULL, r.factor, NULL, NULL, NULL, NULL, NULL, r.source,
           coalesce(o.first_seen, r.known_from), r.known_from, r.known_until, false
    FROM backfill.spinoff_revisions r LEFT JOIN backfill.spinoffs o USING (symbol_id, ex_date)
)
SELECT symbol_id, kind, ex_date, period, new_shares, old_shares, ratio, amount, currency, cum_day, sessions,
       contradiction, source, first_seen, known_from, known_until, is_last
FROM versions
WHERE known_from <= %(now)s AND (known_until IS NULL OR known_until > known_from)
  AND symbol_id = ANY (%(ids)s::int[]) AND kind = ANY (%(kinds)s::text[])
  AND (%(first)s::date IS NULL OR ex_date >= %(first)s::date) AND (%(last)s::date IS NULL OR ex_date <= %(last)s::date)
  AND (%(with_former)s OR known_until IS NULL OR known_until > %(now)s)
ORDER BY ex_date DESC, symbol_id, kind, period, known_from DESC LIMIT %(limit)s::int
"""
_COUNT_ACTIONS = """
SELECT kind, count(*) FILTER (WHERE withdrawn_at IS NULL), count(*) FILTER (WHERE first_seen >= %(since)s),
       count(*) FILTER (WHERE revised_at >= %(since)s), count(*) FILTER (WHERE withdrawn_at >= %(since)s)
FROM (
    SELECT 'split' AS kind, first_seen, revised_at, withdrawn_at FROM backfill.splits
    UNION ALL
    SELECT 'dividend', first_seen, revised_at, withdrawn_at FROM backfill.dividends
    UNION ALL
    SELECT 'spinoff', first_seen, revised_at, withdrawn_at FROM backfill.spinoffs
) actions
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class ActionVersion:
    """What the vendor listed of an action for some time; times are UTC.

    Attributes:
        symbol_id: the symbol.
        kind: ``split``, ``dividend`` or ``spinoff``.
        ex_date: the first session with the new number of shares, or without a claim to the dividend or the part.
        period: the vendor's word for a dividend, such as ``quarterly``; empty without one, and for other kinds.
        new_shares: as many shares …
        old_shares: … for so many old ones; None for other kinds, and for splits that an earlier version read.
        ratio: new shares for an old one, or the factor of a spin-off; None for dividends.
        amount: of a dividend a share, as paid.
        currency: of the amount; None if the vendor gives none.
        cum_day: the session before a dividend's ex-date.
        sessions: how many sessions show the factor of a spin-off; None for other kinds and former versions.
        contradiction: all versions that the vendor lists of the ex-date, if nothing tells which holds.
        source: the vendor's endpoint, or what the action was derived from.
        first_seen: when the action was read first, in whichever version.
        known_from: when this version was read first.
        known_until: when another one was read, or the action was not listed any more; None if it holds.
        is_last: whether no other version came after it.
    """

    symbol_id: int
    kind: str
    ex_date: date
    period: str
    new_shares: Decimal | None
    old_shares: Decimal | None
    ratio: float | None
    amount: Decimal | None
    currency: str | None
    cum_day: date | None
    sessions: int | None
    contradiction: str | None
    source: str
    first_seen: datetime
    known_from: datetime
    known_until: datetime | None
    is_last: bool


@dataclass(frozen=True, slots=True)
class ActionCounts:
    """How many actions of a kind there are.

    Attributes:
        listed: that count now, or will from their ex-dates on.
        new: read first since some moment.
        revised: whose values changed since.
        withdrawn: that are not listed any more since.
    """

    listed: int = 0
    new: int = 0
    revised: int = 0
    withdrawn: int = 0


def list_action_versions(
    connection: Connection,
    symbol_ids: Collection[int],
    now: datetime,
    *,
    kinds: Collection[str],
    first: date | None = None,
    last: date | None = None,
    with_former: bool = False,
    limit: int | None = None,
) -> list[ActionVersion]:
    """The versions of actions that were known at a moment, those with the newest ex-dates first.

    Args:
        connection: with a transaction open.
        symbol_ids: of these only.
        now: versions that were read later are left out, UTC.
        kinds: of these only.
        first: the first ex-date; None: from the beginning.
        last: the last one; None: also announced ones.
        with_former: also what was replaced or withdrawn before that moment.
        limit: at most so many; None: all.
    """
    values = {
        "ids": sorted(symbol_ids),
        "now": now,
        "kinds": sorted(kinds),
        "first": first,
        "last": last,
        "with_former": with_former,
        "limit": limit,
    }
    return [ActionVersion(*row) for row in connection.execute(_SELECT_VERSIONS, values)]


def count_actions(connection: Connection, since: datetime) -> dict[str, ActionCounts]:
    """By kind, how many actions of all symbols there are, and how many changed since a moment (UTC)."""
    rows = connection.execute(_COUNT_ACTIONS, {"since": since})
    return {kind: ActionCounts(*counts) for kind, *counts in rows}
