"""The end of a listing that daily data and the list of renamed symbols agree on, from a sandbox over real HTTP."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox, undo
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.finding_ends import resolve_ended_findings
from backfill_assets.backfill.findings import record_bars_outside_listing
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.confirmed_lives import read_proposed_lives
from backfill_assets.store.evidence.daily_data import ListingLife, record_listing_lives
from backfill_assets.store.evidence.findings import BARS_OUTSIDE_LISTING, ENDED_OR_RENAMED
from backfill_assets.store.evidence.listing_lives import read_listing_lives
from backfill_assets.store.evidence.proposals import Answer
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.test_backfill_absence_lookup import (
    explain,
    list_details,
    query,
    record_empty_responses,
)
from backfill_assets_tests.integration.test_backfill_doubts import (
    answer,
    build_rows,
    get_symbol_ids,
    judge,
    list_outcomes,
    read_day,
)

THURSDAY, FRIDAY, MONDAY, TUESDAY = date(2026, 5, 28), date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2)
AGREED = "daily data and list of renamed symbols: AAPL.US became APPL on 2026-06-01"
MakeListed = Callable[..., Engine]


@pytest.fixture
def make_listed(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeListed:
    """An engine that looked up AAPL: its daily data end on ``last_day``, on Monday it was renamed to APPL."""

    def make(last_day: date = FRIDAY) -> Engine:
        engine = make_engine(start_sandbox(delisted={"AAPL": last_day}, renamed={"AAPL": ("APPL", MONDAY)}))
        record_empty_responses(engine, MONDAY, TUESDAY)
        explain(engine)
        query(engine, "DELETE FROM backfill.session_evidence RETURNING 1")
        return engine

    return make


def read_agreement(engine: Engine) -> tuple[bool, bool, str | None]:
    """Whether a person confirmed the life, whether its end is confirmed by whomever, and which sources agree."""
    ids = get_symbol_ids(engine)
    with engine.database.transaction() as connection:
        (life,) = read_proposed_lives(connection, ids).values()
        lives = read_listing_lives(connection, np.array(ids, np.int64))
    assert bool(lives.is_first_day_confirmed[0]) is life.is_confirmed
    return life.is_confirmed, bool(lives.is_last_day_confirmed[0]), life.agreement


def list_open(engine: Engine) -> list[tuple[Any, ...]]:
    refresh_inbox(engine.database, NOW)
    return query(engine, "SELECT kind, decision_id::int FROM backfill.decisions WHERE decision IS NULL ORDER BY 1")


def choose(engine: Engine, kind: str, choice: Answer) -> int:
    number: int = dict(list_open(engine))[kind]
    decide(engine.database, [number], choice, by="ann@a", note=None, now=NOW)
    return number


def test_rows_after_an_end_that_two_sources_confirm_are_rejected(make_listed: MakeListed) -> None:
    engine = make_listed()
    confirmed = "SELECT confirmed_first_day, confirmed_last_day, confirmed_by FROM backfill.listing_lives"
    assert query(engine, confirmed) == [(None, date(2026, 5, 31), AGREED)]
    assert read_agreement(engine) == (False, True, AGREED)
    answer(engine, build_rows())
    assert query(engine, "SELECT count(*) FROM market_data") == [(0,)]
    assert query(engine, "SELECT reason, count(*) FROM backfill.rejects GROUP BY 1") == [("outside_listing", 78)]
    judge(engine)
    assert list_outcomes(engine) == []
    query(engine, "UPDATE backfill.session_evidence SET published_at = 'infinity' RETURNING 1")
    resolve_ended_findings(engine)  # another instrument's rows do not show that the listing goes on
    assert query(engine, "SELECT has_ended FROM backfill.listing_lives") == [(True,)]


def test_sources_with_other_days_propose_an_end_only(make_listed: MakeListed) -> None:
    engine = make_listed(THURSDAY)
    assert read_agreement(engine) == (False, False, None)
    assert list_details(engine) == [
        (ENDED_OR_RENAMED, "AAPL.US", "no daily data after 2026-05-28; renamed to APPL on 2026-06-01")
    ]
    answer(engine, build_rows())
    assert query(engine, "SELECT count(*) FROM market_data") == [(13,)]
    judge(engine)
    assert list_outcomes(engine) == [(Rule.OUTSIDE_LISTING, None, True)]
    record_bars_outside_listing(engine.database, NOW)
    assert [kind for kind, _, _ in list_details(engine)] == [BARS_OUTSIDE_LISTING, ENDED_OR_RENAMED]


def test_the_agreement_lapses_with_a_later_daily_row_or_another_reading(make_listed: MakeListed) -> None:
    engine = make_listed()
    read_day(engine)  # Monday's row: the ticker is in use again
    assert read_agreement(engine) == (False, False, None)
    query(engine, "DELETE FROM backfill.daily_prices WHERE day = '2026-06-01' RETURNING 1")
    assert read_agreement(engine) == (False, True, AGREED)
    with engine.database.transaction() as connection:
        record_listing_lives(connection, [ListingLife(get_symbol_ids(engine)[0], None, FRIDAY, has_ended=True)], NOW)
    assert read_agreement(engine) == (False, False, None)


def test_a_reading_without_the_rename_withdraws_the_agreement(
    make_listed: MakeListed, start_sandbox: Callable[..., Sandbox]
) -> None:
    engine = make_listed()
    other = start_sandbox(delisted={"AAPL": FRIDAY})
    settings = engine.settings.model_copy(update={"base_url": other.base_url})
    query(engine, "UPDATE backfill.listing_lives SET has_ended = false, read_at = '2026-05-01' RETURNING 1")
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(Engine(engine.database, settings))
    assert query(engine, "SELECT confirmed_at, confirmed_by FROM backfill.listing_lives") == [(None, None)]


def test_a_person_has_the_last_word_and_an_undo_restores_what_two_sources_said(make_listed: MakeListed) -> None:
    engine = make_listed()
    rename = choose(engine, "rename", Answer.REJECTED)
    assert read_agreement(engine) == (False, False, None)
    answer(engine, build_rows())
    judge(engine)
    undo(engine.database, rename, by="ann@a", note=None, now=NOW)
    assert read_agreement(engine) == (False, True, AGREED)

    rejected = choose(engine, "listing_life", Answer.REJECTED)
    assert read_agreement(engine) == (False, False, None)
    undo(engine.database, rejected, by="ann@a", note=None, now=NOW)
    assert read_agreement(engine) == (False, True, AGREED)

    accepted = choose(engine, "listing_life", Answer.ACCEPTED)
    assert read_agreement(engine) == (True, True, None)
    undo(engine.database, accepted, by="ann@a", note=None, now=NOW)
    assert read_agreement(engine) == (False, True, AGREED)
    choose(engine, "listing_life", Answer.ACCEPTED)
    assert read_agreement(engine) == (True, True, None)
    evidence = query(engine, "SELECT evidence FROM backfill.decisions WHERE kind = 'listing_life'")[0][0]
    assert ["last day confirmed by", AGREED] in evidence
    query(engine, "UPDATE backfill.listing_lives SET has_ended = false, read_at = '2026-05-01' RETURNING 1")
    query(engine, "DELETE FROM backfill.session_evidence RETURNING 1")
    query(engine, "DELETE FROM market_data RETURNING 1")
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)  # the same days: the person's confirmation stays
    assert read_agreement(engine) == (True, True, None)
