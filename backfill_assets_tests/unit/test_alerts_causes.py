"""The likely cause of a failure in one phrase, derived from diagnostics."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backfill_assets.alerts.causes import Diagnostics, find_error_cause, find_likely_cause
from backfill_assets.config.settings import load_settings
from backfill_assets.errors import DatabaseUnavailable, UsageError
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    BudgetSpent,
    PlanRefused,
    ProxyRefused,
    QuotaExhausted,
    RateLimited,
    ServerFault,
    SpendingPaused,
    TokenRefused,
    Unreachable,
    WrongAddress,
)
from backfill_assets.store.evidence.findings import NO_INTRADAY_DATA, TOO_MANY_UNSERVED, Finding
from backfill_assets.store.quota.budget import BudgetStatus
from backfill_assets.store.quota.spending_pause import SpendingPause
from backfill_assets_tests.unit.coverage_builders import NOW, build_coverage
from backfill_assets_tests.unit.market_builders import build_grid

GRID = build_grid("2026-06-01", "2026-06-02")
MONDAY, TUESDAY, ALL = range(0, 13), range(13, 26), range(26)
TWELVE = "A B C D E F G H I J K L"
ONLY_SUCCESSES = {"": 500}
NO_DATABASE = "the database cannot be used"
PAUSE = SpendingPause(NOW, NOW + timedelta(hours=2), "ann@host", "invoice")
GAPS = ("every_symbol_has_recent_bars", "no_missing_bars", "newest_bar_is_fresh")


def make_budget(left: int = 90_000, foreign: int = 0) -> BudgetStatus:
    return BudgetStatus(left, 10_000, datetime(2026, 6, 4, tzinfo=UTC), 0, 800, foreign, None)


def make_diagnostics(
    coverage: Coverage,
    attempts: Mapping[str, int] = ONLY_SUCCESSES,
    budget: BudgetStatus | None = None,
    found: tuple[Finding, ...] = (),
) -> Diagnostics:
    return Diagnostics(coverage, attempts, budget or make_budget(), found)


def build_coverage_with_missing(names: str, slots: range, symbols: str = TWELVE) -> Coverage:
    return build_coverage(symbols, GRID, {(name, slots): SlotState.MISSING for name in names.split()})


def make_drift_finding(day: str) -> Finding:
    return Finding("calendar drift", day, "the vendor has trading outside the calendar's session", NOW)


RENAMED = Finding("ended or renamed", "C.US", "no daily data after 2026-05-29; renamed to CC on 2026-06-01", NOW)
REFUSED = Finding("bars refused", "house_check", "market_data refuses 4 bars of 1 ticker", NOW)


def add_refused(coverage: Coverage, slots: int) -> Coverage:
    evidence = replace(coverage.absence_evidence, refused=np.arange(slots))
    return replace(coverage, absence_evidence=evidence)


CASES = {
    "one symbol": (make_diagnostics(build_coverage_with_missing("C", range(5, 9))), "one symbol: C.US"),
    "one that was renamed": (
        make_diagnostics(build_coverage_with_missing("C", ALL), found=(RENAMED,)),
        "one symbol: C.US (no daily data after 2026-05-29; renamed to CC on 2026-06-01)",
    ),
    "one that the vendor cannot read": (
        make_diagnostics(
            build_coverage_with_missing("C", ALL),
            found=(Finding(NO_INTRADAY_DATA, "C.US", "refused by the vendor", NOW),),
        ),
        "one symbol: C.US (refused by the vendor)",
    ),
    "too many that never had a bar": (
        make_diagnostics(
            build_coverage_with_missing("A B C", ALL),
            found=(Finding(TOO_MANY_UNSERVED, "US", "3 of 12 symbols never had a bar", NOW),),
        ),
        "symbols: 3 of 12 symbols never had a bar",
    ),
    "a few symbols": (make_diagnostics(build_coverage_with_missing("C F", range(5, 9))), "2 symbols: C.US, F.US"),
    "bars that the table refuses": (
        make_diagnostics(add_refused(build_coverage_with_missing("C F", range(5, 9)), 4), found=(REFUSED,)),
        "the table: house_check: market_data refuses 4 bars of 1 ticker",
    ),
    "few bars that the table refuses": (
        make_diagnostics(add_refused(build_coverage_with_missing("C F", range(5, 9)), 3), found=(REFUSED,)),
        "2 symbols: C.US, F.US",
    ),
    "many scattered symbols": (
        make_diagnostics(build_coverage_with_missing("A B C D E", range(5, 9))),
        "no single cause: 5 of 12 symbols have missing bars",
    ),
    "a session for most": (
        make_diagnostics(build_coverage_with_missing("A B C D E F G", TUESDAY)),
        "vendor outage: no data of 2026-06-02 for 7 of 12 symbols",
    ),
    "the newest session for all": (
        make_diagnostics(build_coverage_with_missing(TWELVE, ALL)),
        "vendor outage: no data of 2026-06-02 for 12 of 12 symbols",
    ),
    "an early close": (
        make_diagnostics(build_coverage_with_missing(TWELVE, range(7, 13))),
        "calendar: nearly all symbols have no bar from 2026-06-01 17:00 UTC on; was it an early close?",
    ),
    "an early close and one complete symbol": (
        make_diagnostics(
            build_coverage(TWELVE, GRID, {**{(n, range(7, 13)): SlotState.MISSING for n in TWELVE.split()[1:]}})
        ),
        "calendar: nearly all symbols have no bar from 2026-06-01 17:00 UTC on; was it an early close?",
    ),
    "last slots missing for few symbols": (
        make_diagnostics(build_coverage_with_missing("A B", range(7, 13), "A B")),
        "2 symbols: A.US, B.US",
    ),
    "calendar drift": (
        make_diagnostics(
            build_coverage_with_missing("A B C D E F G", TUESDAY), found=(make_drift_finding("2026-06-02"),)
        ),
        "calendar: 2026-06-02: the vendor has trading outside the calendar's session",
    ),
    "drift of another day": (
        make_diagnostics(build_coverage_with_missing("C", range(5, 9)), found=(make_drift_finding("2026-06-02"),)),
        "one symbol: C.US",
    ),
    "no requests": (
        make_diagnostics(build_coverage_with_missing(TWELVE, ALL), {}),
        "no requests in the past 24 h: is the sensor running?",
    ),
    "faults": (
        make_diagnostics(build_coverage_with_missing(TWELVE, ALL), {"": 10, "ServerFault": 30, "Unreachable": 20}),
        "vendor outage: 50 of 60 requests of the past 24 h failed",
    ),
    "few faults are ignored": (
        make_diagnostics(build_coverage_with_missing("C", range(5, 9)), {"": 500, "ServerFault": 30}),
        "one symbol: C.US",
    ),
    "the token": (
        make_diagnostics(build_coverage_with_missing(TWELVE, ALL), {"TokenRefused": 3}),
        "the vendor rejects the token; check EODHD_API_TOKEN and its plan",
    ),
    "own quota": (
        make_diagnostics(build_coverage_with_missing(TWELVE, ALL), budget=make_budget(left=4)),
        "quota: the day's calls are used up until 2026-06-04 00:00 UTC",
    ),
    "the vendor's quota": (
        make_diagnostics(build_coverage_with_missing(TWELVE, ALL), {"QuotaExhausted": 2}),
        "quota: the vendor reports that the day's calls are used up",
    ),
    "nothing is missing": (make_diagnostics(build_coverage("A B", GRID, {})), ""),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", GAPS)
def test_cause_of_missing_bars(name: str, case: str) -> None:
    diagnostics, phrase = CASES[case]
    assert find_likely_cause(name, diagnostics) == phrase


def test_cause_of_rate_limit_errors() -> None:
    full = build_coverage("A", GRID, {})
    assert "another client uses the token, 300 requests" in find_likely_cause(
        "no_rate_limit_errors", make_diagnostics(full, budget=make_budget(foreign=300))
    )
    assert "EODHD_REQUESTS_PER_MINUTE" in find_likely_cause("no_rate_limit_errors", make_diagnostics(full))


@pytest.mark.parametrize("name", [*GAPS, "live_keeps_up"])
def test_a_pause_explains_missing_bars(name: str) -> None:
    with_gaps = replace(make_diagnostics(build_coverage_with_missing("C", ALL)), pause=PAUSE)
    assert find_likely_cause(name, with_gaps) == (
        "spending is paused by ann@host since 2026-06-03 14:00 UTC, until 2026-06-03 16:00 UTC (invoice)"
    )


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        (TokenRefused("no API token is set"), "the vendor rejects the token, or no token is set"),
        (PlanRefused("Only EOD data"), "the token's plan does not include this"),
        (QuotaExhausted("no calls left"), "quota: the day's calls are used up"),
        (BudgetSpent("no calls left"), "quota: the day's calls are used up"),
        (SpendingPaused(str(PAUSE)), "a person paused spending; to go on: backfill-assets resume"),
        (WrongAddress("nobody"), "settings: what answers at EODHD_BASE_URL is not the vendor"),
        (ProxyRefused("HTTP status 407"), "network: a proxy refuses the requests"),
        (Unreachable("no response"), "vendor outage: the vendor cannot be reached"),
        (ServerFault("502"), "vendor outage: the vendor returns errors"),
        (BrokenAnswer("half of it"), "vendor outage: the vendor returns errors"),
        (DatabaseUnavailable("database 'bars' at db cannot be used: gone; check DATABASE_URL"), NO_DATABASE),
        (DatabaseUnavailable("database 'bars' at db is read-only: no"), NO_DATABASE),
        (RateLimited("Too many requests, please try again later."), ""),
        (ValueError("bug"), ""),
    ],
)
def test_cause_of_a_failed_run(error: Exception, phrase: str) -> None:
    assert find_error_cause(f"{type(error).__module__}.{type(error).__qualname__}: {error}") == phrase


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "eodhd.com/api"},
        {"base_url": "https://eodhd.com:port/api"},
        {"token": "a\x00b"},
    ],
)
def test_an_invalid_setting_is_not_reported_as_an_outage(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        load_settings(**wrong)
    assert find_error_cause(str(refused.value)) == ""


@pytest.mark.parametrize("variable", ["EODHD_API_TOKEN", "DATABASE_URL"])
def test_a_missing_token_file_is_not_reported_as_a_rejected_token(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="cannot be read") as refused:
        load_settings()
    assert find_error_cause(str(refused.value)) == ""
