"""Decisions about bars live through further readings: the same values change nothing, others are decided anew."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox, undo
from backfill_assets.backfill.decisions.kind import DecisionRefused
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.doubts import Outcome
from backfill_assets.store.evidence.proposals import Answer
from backfill_assets_tests.integration.test_backfill_doubts import (
    SPIKE,
    answer,
    build_rows,
    list_all,
    list_outcomes,
)
from backfill_assets_tests.integration.test_backfill_doubts import engine as engine

TOTAL_ROWS = (25, 27, 40)  # the first two are in one slot


def build_running_totals(extra: float = 0.0) -> IntradayRows:
    """Monday's rows, some with the session's total so far; ``extra`` is added to the first of them."""
    rows = build_rows()
    volume = 1000 * rows.volume
    total = np.nancumsum(volume)
    volume[list(TOTAL_ROWS)] = total[list(TOTAL_ROWS)]
    volume[TOTAL_ROWS[0]] += extra
    return replace(rows, volume=volume)


def take(engine: Engine, choice: Answer, *ids: int) -> None:
    refresh_inbox(engine.database, engine.settings.now())
    decide(engine.database, ids, choice, by="ann@host", note=None, now=engine.settings.now())


def list_inbox(engine: Engine) -> list[int]:
    refresh_inbox(engine.database, engine.settings.now())
    with engine.database.transaction() as connection:
        return [decision.decision_id for decision in list_open_decisions(connection)]


def read_bars(engine: Engine) -> list[tuple[int, int]]:
    with engine.database.transaction() as connection:
        return connection.execute("SELECT volume, source_rows FROM market_data ORDER BY timestamp").fetchall()


@pytest.mark.parametrize(("choice", "marks_bar"), [(Answer.ACCEPTED, True), (Answer.REJECTED, False)])
def test_an_answer_survives_the_same_values_and_not_others(engine: Engine, choice: Answer, marks_bar: bool) -> None:
    answer(engine, build_rows(spike=SPIKE))
    assert list_inbox(engine) == [1]
    take(engine, choice, 1)
    for _ in range(2):
        answer(engine, build_rows(spike=SPIKE))
        assert list_inbox(engine) == []
        assert list_outcomes(engine) == [(Rule.PRICE_SPIKE, Outcome.DECIDED, marks_bar)]

    answer(engine, build_rows(spike=SPIKE - 20))
    assert list_inbox(engine) == [2]
    assert list_outcomes(engine)[-1] == (Rule.PRICE_SPIKE, None, True)
    with pytest.raises(DecisionRefused, match="have changed since"):
        undo(engine.database, 1, by="bob@host", note=None, now=engine.settings.now() + timedelta(hours=1))
    answer(engine, build_rows())
    assert list_inbox(engine) == []


def test_a_volume_that_was_put_back_stays_and_an_undo_withholds_it_again(engine: Engine) -> None:
    answer(engine, build_running_totals())
    withheld, doubts = read_bars(engine), list_all(engine)
    assert [doubt.rule for doubt in doubts] == [Rule.VOLUME_RUNNING_TOTAL] * 2
    assert all(doubt.withheld_volume for doubt in doubts)
    assert list_inbox(engine) == [1]  # both are of one session
    take(engine, Answer.REJECTED, 1)
    put_back = read_bars(engine)
    totals = build_running_totals().volume
    assert sum(volume for volume, _ in put_back) == int(np.nansum(totals))
    assert {rows for _, rows in put_back} == {6}

    for _ in range(2):
        answer(engine, build_running_totals())
        assert (read_bars(engine), list_inbox(engine)) == (put_back, [])
    undo(engine.database, 1, by="bob@host", note=None, now=engine.settings.now())
    assert (read_bars(engine), list_all(engine)) == (withheld, doubts)
    answer(engine, build_running_totals())
    assert (read_bars(engine), list_inbox(engine)) == (withheld, [1])


def test_a_bar_that_was_found_right_is_not_replaced_by_one_with_fewer_usable_rows(engine: Engine) -> None:
    answer(engine, build_running_totals())
    list_inbox(engine)
    take(engine, Answer.REJECTED, 1)
    put_back = read_bars(engine)
    answer(engine, build_running_totals(extra=5000))  # nobody decided about that volume, so the answer's bar lacks it
    assert (read_bars(engine), list_inbox(engine)) == (put_back, [])
