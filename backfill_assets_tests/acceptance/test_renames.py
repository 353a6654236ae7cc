"""``symbols rename``, and the inbox about renamed and recycled tickers, with the figures of FB, META and POL."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.identity.recycled import find_breaks
from backfill_assets.market.vendor import DailyRows, ListedSymbol
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, Finding, list_findings, record_finding
from backfill_assets.store.evidence.listed_isins import record_listed_isins
from backfill_assets.store.evidence.ticker_breaks import record_ticker_breaks
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.acceptance.conftest import CommandResult, User
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub
from backfill_assets_tests.acceptance.test_reports_and_alerts import Page
from backfill_assets_tests.conftest import NOW

FUND_END, FB_END, META_BEGIN = date(2022, 1, 28), date(2022, 6, 8), date(2022, 6, 9)
FB_CLOSES = {"2022-06-06": 194.25, "2022-06-07": 195.65, "2022-06-08": 196.64}
META_CLOSES = {"2022-01-27": 11.95, "2022-01-28": 12.31, "2022-06-09": 184.00, "2022-06-10": 175.57}
RENAME = "symbols rename FB META --on 2022-06-09"
EVIDENCE = """FB.US was renamed to META.US on 2022-06-09
  vendor's list           the list of renamed symbols begins on 2022-07-22
  last close of FB.US     196.64 on 2022-06-08
  first close of META.US  184.00 on 2022-06-09 (-6.4%)
  META.US before          named another instrument, until 2022-01-28
"""
# Everything that a rename may touch, and that its undo restores.
STATE = {
    "universe": "SELECT symbol_id, symbol, is_active FROM market_symbols ORDER BY 1",
    "listings": "SELECT listing_id FROM backfill.listings WHERE withdrawn_at IS NULL ORDER BY 1",
    "findings": "SELECT kind, subject, detail, found_at, resolved_at FROM backfill.findings ORDER BY 1, 2",
    "open": "SELECT kind, subject, refers_to FROM backfill.decisions WHERE decision IS NULL AND closed_at IS NULL",
    "bars": "SELECT md5(string_agg(d::text, '|' ORDER BY symbol_id, timestamp)) FROM market_data d",
}
# The bars of one instrument, each under the ticker that it had on the day.
SERIES = """
SELECT s.symbol, (d.timestamp AT TIME ZONE 'America/New_York')::date AS day, count(*)::int
FROM backfill.listings l JOIN market_data d USING (symbol_id) JOIN market_symbols s USING (symbol_id)
WHERE l.withdrawn_at IS NULL AND l.instrument_id = (
    SELECT instrument_id FROM backfill.listings l JOIN market_symbols m USING (symbol_id)
    WHERE m.symbol = %(symbol)s AND l.withdrawn_at IS NULL ORDER BY listed_from DESC NULLS LAST LIMIT 1)
  AND (d.timestamp AT TIME ZONE 'America/New_York')::date
      BETWEEN coalesce(l.listed_from, '-infinity') AND coalesce(l.listed_until, 'infinity')
GROUP BY 1, 2 ORDER BY 2
"""


def build_daily(closes: dict[str, float]) -> bytes:
    return json.dumps(
        [
            {"date": day, "open": c, "high": c, "low": c, "close": c, "adjusted_close": c, "volume": 1000}
            for day, c in closes.items()
        ]
    ).encode()


class Store:
    """A store with FB and META, a vendor with the recorded closes, and a user of the command line."""

    def __init__(self, user: User, database: Database, vendor: StubVendor) -> None:
        self.user, self.database, self.vendor = user, database, vendor
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(["FB", "META"]))
            self.ids = {str(s.ticker): s.symbol_id for s in list_symbols(connection, "US")}

    def execute(self, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def store_bars(self, ticker: str, first: date, last: date, price: float) -> None:
        """A full grid of 30-minute bars for each session."""
        starts = [
            session.open + n * timedelta(minutes=30)
            for session in list_sessions(US, first, last)
            for n in range(int((session.close - session.open) / timedelta(minutes=30)))
        ]
        self.execute(
            "INSERT INTO market_data (symbol_id, timestamp, open_price, high_price, low_price, close_price, volume)"
            " SELECT %(id)s, at, %(price)s, %(price)s, %(price)s, %(price)s, 100 FROM unnest(%(at)s::timestamptz[]) at",
            {"id": self.ids[ticker], "at": starts, "price": price},
        )

    def store_lives(self) -> None:
        """FB until its last day, META the fund, and META from the day on."""
        self.store_bars("FB.US", date(2022, 6, 1), FB_END, 196.64)
        self.store_bars("META.US", date(2022, 1, 24), FUND_END, 12.31)
        self.store_bars("META.US", META_BEGIN, date(2022, 6, 15), 184.0)

    def read_state(self) -> dict[str, list[tuple[Any, ...]]]:
        return {name: self.execute(statement) for name, statement in STATE.items()}

    def run(self, command: str) -> str:
        result = self.user.run_cli(command)
        assert result.code == 0, result
        return result.out

    def refuse(self, command: str) -> CommandResult:
        before = self.read_state()
        result = self.user.run_cli(command)
        assert result.code == 2, result
        assert self.read_state() == before
        return result

    def list_lives(self) -> list[tuple[str, str | None, str | None, int]]:
        """The listings that count; instruments by the order of their first listing."""
        rows = self.execute(
            "SELECT symbol, listed_from::text, listed_until::text, dense_rank() OVER (ORDER BY instrument_id)"
            " FROM backfill.listings JOIN market_symbols USING (symbol_id) WHERE withdrawn_at IS NULL"
            " ORDER BY listed_from NULLS FIRST, listing_id"
        )
        return [(symbol, first, last, int(rank)) for symbol, first, last, rank in rows]

    def list_active(self) -> list[str]:
        with self.database.transaction() as connection:
            return [str(symbol.ticker) for symbol in list_symbols(connection, "US")]

    def record_finding(self, subject: str, detail: str) -> None:
        with self.database.transaction() as connection:
            record_finding(connection, Finding(ENDED_OR_RENAMED, subject, detail, NOW - timedelta(days=2)))


@pytest.fixture
def store(make_user: Callable[..., User], database: Database) -> Iterator[Store]:
    by_path = {"eod/FB.US": (200, build_daily(FB_CLOSES)), "eod/META.US": (200, build_daily(META_CLOSES))}
    account = json.dumps({"apiRequests": 0, "apiRequestsDate": "2026-06-03", "dailyRateLimit": 100_000}).encode()
    vendor = StubVendor(by_path={**by_path, "user": (200, account)})
    with serve_stub(vendor) as address:
        yield Store(make_user(EODHD_BASE_URL=address), database, vendor)


def test_fb_became_meta_and_a_fund_had_the_name_before(store: Store) -> None:
    store.store_lives()
    store.record_finding("FB.US", "no daily data after 2022-06-08")
    store.run("decisions list")  # the finding is in the inbox
    before = store.read_state()

    asked = store.refuse(RENAME)
    assert asked.out.startswith(EVIDENCE)
    assert "confirm with --yes" in asked.err
    assert "META.US until 2022-01-28: another instrument\n" in asked.out

    said = store.run(f"{RENAME} --yes")
    assert "  evidence: 0 calls of the vendor\n" in said  # known since it was asked for
    assert store.list_active() == ["META.US"]
    assert store.list_lives() == [
        ("FB", None, "2022-06-08", 1),
        ("META", None, "2022-01-28", 2),
        ("META", "2022-06-09", None, 1),
    ]
    assert store.execute("SELECT count(*) FROM backfill.findings WHERE resolved_at IS NULL") == [(0,)]
    assert store.read_state()["bars"] == before["bars"]
    assert store.run("symbols list --all") == "FB.US  renamed to META.US on 2022-06-09\nMETA.US\n"
    assert "FB.US: renamed to META.US on 2022-06-09" in store.run("why FB 2022-06-10")
    shown = store.run("symbols show FB META")
    assert "  until 2022-06-08, as the same instrument META.US from 2022-06-09 on\n" in shown
    assert "META.US  active\n  until 2022-01-28\n" in shown
    assert "FB.US was renamed to META.US on 2022-06-09: accepted by" in shown

    store.run("symbols rename FB META --undo")
    assert store.read_state() == before
    history = store.execute("SELECT action FROM backfill.decision_history ORDER BY history_id")
    assert history == [("accepted",), ("undone",)]
    withdrawn = store.execute("SELECT count(*), count(withdrawn_by) FROM backfill.listings")
    assert withdrawn == [(3, 3)]
    assert "no rename of FB.US to META.US is recorded" in store.refuse("symbols rename FB META --undo").err


def test_bars_of_both_tickers_make_one_series_without_a_gap_or_a_double(store: Store) -> None:
    store.store_lives()
    store.run("universes add model FB")
    renamed = store.run(f"{RENAME} --yes")
    assert "universe model has FB.US and not META.US: backfill-assets universes add model META.US\n" in renamed
    for symbol in ("FB", "META"):
        series = store.execute(SERIES, {"symbol": symbol})
        sessions = [session.day for session in list_sessions(US, date(2022, 6, 1), date(2022, 6, 15))]
        assert [day for _, day, _ in series] == sessions
        assert {count for *_, count in series} == {13}
        assert {ticker for ticker, day, _ in series if day <= FB_END} == {"FB"}
        assert {ticker for ticker, day, _ in series if day >= META_BEGIN} == {"META"}


def test_what_contradicts_refuses_the_rename_although_it_is_confirmed(store: Store) -> None:
    store.store_lives()
    no_session = store.refuse("symbols rename FB META --on 2022-06-11 --yes").error
    assert no_session == (
        "2022-06-11 is no session of US; say which one you mean: 2022-06-10 if it is the session before, or 2022-06-13"
        " if it is the first one after"
    )
    assert "must lie between" in store.refuse("symbols rename FB META --on 0001-01-01 --yes").error
    assert "must lie between" in store.refuse("symbols rename FB META --on 1999-12-24 --yes").error
    assert "is yet to come" in store.refuse("symbols rename FB META --on 9999-12-31 --yes").error
    assert "is yet to come" in store.refuse("symbols rename FB META --on 2026-06-05 --yes").error
    assert "say from which session on" in store.refuse("symbols rename FB META --yes").error
    assert "cannot be renamed to itself" in store.refuse("symbols rename FB FB --on 2022-06-09").error
    assert "not in the universe" in store.refuse("symbols rename XYZ META --on 2022-06-09").error
    assert "takes neither" in store.refuse("symbols rename FB META --undo --yes").error

    later = store.refuse("symbols rename FB META --on 2022-06-08 --yes").error
    assert later.startswith("FB.US has bars of 2022-06-08, after its last day 2022-06-07")

    store.vendor.by_path["eod/META.US"] = (200, build_daily({"2022-06-07": 12.0, "2022-06-09": 18.4}))
    refused = store.refuse(f"{RENAME} --yes")
    assert "nothing was recorded, because the evidence contradicts" in refused.err
    assert "FB.US ended at 196.64 on 2022-06-08, META.US began at 18.40 on 2022-06-09" in refused.err
    assert "META.US traded until 2022-06-07, with other closes than FB.US" in refused.err
    store.run(f"{RENAME} --yes --insist")
    assert store.list_lives()[0] == ("FB", None, "2022-06-08", 1)
    assert "it is recorded already" in store.refuse(f"{RENAME} --yes --insist").err


def test_an_undo_is_refused_when_something_has_changed_since(store: Store) -> None:
    store.run(f"{RENAME} --yes --note press")
    assert store.user.run_cli("symbols add FB META").err == (
        "FB.US renamed to META.US on 2022-06-09: later bars are neither expected nor requested; if it is another"
        " company's ticker now: backfill-assets symbols add FB.US --listed-from DAY\n"
    )
    assert (
        "FB.US is active again, so the universe has changed since" in store.refuse("symbols rename FB META --undo").err
    )
    store.run("symbols deactivate FB")
    store.vendor.by_path["eod/MVRS.US"] = (200, build_daily({"2022-06-13": 164.26}))
    store.run("symbols rename META MVRS --on 2022-06-13 --yes")
    assert store.run("symbols list --all").splitlines() == [
        "FB.US  renamed to META.US on 2022-06-09",
        "META.US  renamed to MVRS.US on 2022-06-13",
        "MVRS.US",
    ]
    assert "the listings of these tickers have changed since" in store.refuse("symbols rename FB META --undo").err
    assert "changed since" in store.refuse("decisions undo 1").err
    store.run("symbols rename META MVRS --undo")
    store.run("symbols rename FB META --undo --on 2022-06-09")
    assert (store.list_lives(), store.list_active()) == ([], ["FB.US", "META.US"])  # both were active
    notes = store.execute("SELECT note FROM backfill.decision_history ORDER BY history_id")
    assert notes[0] == ("press",)


def test_a_name_that_comes_back_is_the_same_instrument_and_one_that_is_recycled_is_not(store: Store) -> None:
    store.store_bars("FB.US", date(2022, 6, 1), FB_END, 196.64)
    store.store_bars("FB.US", date(2025, 6, 2), date(2025, 6, 3), 26.0)  # another company took FB over
    assert "has bars of 2025-06-02" in store.refuse(f"{RENAME} --yes").error
    said = store.run(f"{RENAME} --yes --insist")
    assert "FB.US from 2025-06-02 on: another instrument\n" in said
    assert store.list_active() == ["FB.US", "META.US"]
    assert ("FB", "2025-06-02", None, 3) in store.list_lives()

    store.run("symbols rename FB META --undo")
    store.execute("DELETE FROM market_data WHERE timestamp > '2025-01-01'")
    store.run(f"{RENAME} --yes")
    store.vendor.by_path["eod/META.US"] = (200, build_daily({**META_CLOSES, "2023-01-03": 124.74}))
    store.vendor.by_path["eod/FB.US"] = (200, build_daily({"2023-01-04": 127.37}))
    store.run("symbols rename META FB --on 2023-01-04 --yes")
    assert store.list_lives() == [
        ("FB", None, "2022-06-08", 1),
        ("META", None, "2022-01-28", 2),
        ("META", "2022-06-09", "2023-01-03", 1),
        ("FB", "2023-01-04", None, 1),
    ]
    assert store.list_active() == ["FB.US"]


def test_without_the_vendor_a_person_still_can_and_is_told_what_is_not_known(
    store: Store, make_user: Callable[..., User]
) -> None:
    store.user = make_user(BACKFILL_ATTEMPTS="1")
    said = store.run(f"{RENAME} --yes")
    assert "not known" in said
    assert "could not be read" in said
    assert store.list_active() == ["META.US"]


def test_an_old_name_that_the_vendor_has_forgotten_can_be_recorded_without_inventing_an_instrument(
    store: Store,
) -> None:
    store.store_bars("META.US", date(2022, 6, 1), date(2022, 6, 15), 190.0)  # the vendor gives FB's history under it
    del store.vendor.by_path["eod/FB.US"]
    store.vendor.by_path["eod/META.US"] = (200, build_daily({**FB_CLOSES, "2022-06-09": 184.00}))
    said = store.run(f"{RENAME} --yes")
    assert "closes, not compared, until 2022-06-08" in said
    assert "another instrument" not in said
    assert store.list_lives() == [("FB", None, "2022-06-08", 1), ("META", "2022-06-09", None, 1)]


def test_a_table_with_several_rows_of_a_ticker_and_one_of_each_symbol(store: Store) -> None:
    store.execute("INSERT INTO market_symbols (symbol, exchange, is_active) VALUES ('FB', 'NASDAQ', true)")
    store.run(f"{RENAME} --yes")
    assert store.list_active() == ["META.US"]
    assert len(store.list_lives()) == 3
    with store.database.transaction() as connection:
        (fb,) = [s for s in list_symbols(connection, "US", only_active=False) if s.ticker.symbol == "FB"]
    assert fb.symbol_id == store.ids["FB.US"]
    store.run("symbols rename FB META --undo")
    assert store.execute("SELECT count(*) FROM market_symbols WHERE is_active AND symbol = 'FB'") == [(2,)]

    store.execute("DELETE FROM market_symbols WHERE exchange = 'NASDAQ'")
    store.execute("UPDATE market_symbols SET exchange = 'LSE' WHERE symbol = 'META'")
    store.execute("ALTER TABLE market_symbols ADD UNIQUE (symbol)")
    refused = store.refuse(f"{RENAME} --yes").err
    assert "the table has these symbols for another exchange ('LSE'): META" in refused


def test_the_inbox_proposes_a_rename_with_its_evidence_and_accepting_does_the_same(store: Store) -> None:
    store.store_lives()
    change = (
        "INSERT INTO backfill.ticker_changes VALUES ('FB.US', 'META.US', '2022-06-09', 'Meta Platforms', now(), now(),"
        " '2022-06-08', 196.64, '2022-06-09', 184, '2022-01-28', false)"
    )
    store.record_finding("FB.US", "no daily data after 2022-06-08; renamed to META on 2022-06-09")
    (ended,) = store.user.run_cli("decisions list --format json").json
    assert ended["subject"] == "FB.US has ended"
    texts = {line["name"]: line["text"] for line in ended["evidence"]}
    assert texts["no rename proposed"] == "the closes under both names were not compared"

    store.execute(change)
    (proposed,) = store.user.run_cli("decisions list --format json").json
    assert (proposed["kind"], proposed["subject"]) == ("rename", "FB.US was renamed to META.US on 2022-06-09")
    assert proposed["proposal"].startswith("one instrument: FB.US ends on 2022-06-08, and META.US takes over from")
    texts = {line["name"]: line["text"] for line in proposed["evidence"]}
    assert texts["vendor's list"] == "renamed on 2022-06-09 (Meta Platforms)"
    assert texts["first close of META.US"] == "184.00 on 2022-06-09 (-6.4%)"
    before = store.read_state()
    assert (before["listings"], store.list_active()) == ([], ["FB.US", "META.US"])  # nothing happens by itself

    store.run(f"decisions accept {proposed['id']}")
    accepted = store.list_lives()
    assert accepted[0] == ("FB", None, "2022-06-08", 1)
    store.run(f"decisions undo {proposed['id']}")
    assert store.read_state() == before
    store.run(f"{RENAME} --yes")  # the command takes the same decision
    assert store.list_lives() == accepted
    assert store.execute("SELECT count(*) FROM backfill.decisions") == [(1,)]
    store.run("symbols rename FB META --undo")
    assert store.read_state() == before


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("'2022-06-08', 196.64, '2022-06-09', 18.4, NULL", "further apart than 25%"),
        ("'2022-06-08', 196.64, '2022-06-09', 184, '2022-06-07'", "META.US traded until 2022-06-07"),
        ("'2022-06-08', 196.64, NULL, NULL, NULL", "no close of META.US from 2022-06-09 on is known"),
    ],
)
def test_an_end_that_the_closes_do_not_bear_out_as_a_rename_only_deactivates(
    store: Store, values: str, reason: str
) -> None:
    store.execute("UPDATE market_symbols SET is_active = false WHERE symbol = 'META'")
    store.record_finding("FB.US", "no daily data after 2022-06-08; renamed to META on 2022-06-09")
    store.execute(
        "INSERT INTO backfill.ticker_changes VALUES ('FB.US', 'META.US', '2022-06-09', NULL, now(), now(),"
        f" {values}, false)"
    )
    (ended,) = store.user.run_cli("decisions list --format json").json
    assert (ended["subject"], ended["proposal"]) == (
        "FB.US has ended",
        "deactivate FB.US (rejecting: FB.US stays active)",
    )
    texts = {line["name"]: line["text"] for line in ended["evidence"]}
    assert reason in texts["no rename proposed"]
    assert texts["to record it"] == "backfill-assets symbols rename FB.US META --on 2022-06-09"
    store.run(f"decisions accept {ended['id']}")
    assert (store.list_active(), store.list_lives()) == ([], [])


def test_a_decision_of_version_0_4_0_that_activated_the_new_name_can_be_undone(store: Store) -> None:
    store.record_finding("FB.US", "no daily data after 2022-06-08; renamed to META on 2022-06-09")
    store.run("decisions list")
    store.run("decisions accept 1")
    changes = "jsonb_set(changes, '{activated}', '\"META.US\"')"
    store.execute(f"UPDATE backfill.decision_history SET changes = {changes}")
    store.run("decisions undo 1")
    assert store.list_active() == ["FB.US"]


def record_breaks(store: Store, ticker: str, closes: dict[str, float]) -> None:
    prices = np.array(list(closes.values()))
    days = np.array(list(closes), "datetime64[D]")
    rows = DailyRows(days, prices, prices, prices, prices, prices, np.full(len(prices), 1000.0))
    with store.database.transaction() as connection:
        record_ticker_breaks(connection, store.ids[ticker], find_breaks(rows), NOW)


def test_a_recycled_ticker_is_parted_when_a_person_accepts_it(store: Store, tmp_path: Path) -> None:
    store.store_lives()
    record_breaks(store, "META.US", META_CLOSES)
    with store.database.transaction() as connection:
        listed = [ListedSymbol("META", None, None, None, None, None, "US30303M1027"),
                  ListedSymbol("META_old", None, None, None, None, None, None),
                  ListedSymbol("NONE", None, None, None, None, None, None)]  # fmt: skip
        record_listed_isins(connection, "US", listed, NOW)
    before = store.read_state()
    (decision,) = store.user.run_cli("decisions list --kind recycled_ticker --format json").json
    assert (decision["subject"], decision["state"]) == ("META.US named 2 instruments", "optional")
    assert decision["proposal"].startswith(
        "an instrument for each life: until 2022-01-28, from 2022-06-09 on; bars are expected in the last one only"
    )
    assert [line["text"] for line in decision["evidence"]][:3] == [
        "12.31 on 2022-01-28, then nothing until 184.00 on 2022-06-09",
        "META had the ISIN US30303M1027 in the lists read from 2026-06-03 to 2026-06-03",
        "META_old had no ISIN in the lists read from 2026-06-03 to 2026-06-03",
    ]
    assert store.list_lives() == []  # nothing happens by itself
    store.execute(
        "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,"
        " source_rows, is_published, not_returned) SELECT %(id)s, '30m', '5m', day, now(), 78, true, '{}'"
        " FROM unnest('{2022-01-28,2022-06-09}'::date[]) day",
        {"id": store.ids["META.US"]},
    )
    (waiting,) = store.user.run_cli("decisions list --kind recycled_ticker --format json").json
    assert waiting["state"] == "waits"  # rows came of both sides
    store.run(f"report --format html --output {tmp_path / 'report.html'}")
    assert Page((tmp_path / "report.html").read_text("utf-8")).contains("META.US named 2 instruments")

    store.run(f"decisions accept {decision['id']}")
    lives = [("META", None, "2022-01-28", 1), ("META", "2022-06-09", None, 2)]
    assert (store.list_lives(), store.user.run_cli("decisions list --format json").json) == (lives, [])
    store.run(f"{RENAME} --yes")
    assert store.list_lives() == [lives[0], ("FB", None, "2022-06-08", 2), lives[1]]
    assert "its listings have changed since" in store.refuse(f"decisions undo {decision['id']}").err
    store.run("symbols rename FB META --undo")
    assert store.list_lives() == lives
    store.run(f"decisions undo {decision['id']}")
    assert store.list_lives() == []
    after = store.read_state()
    assert {name: after[name] for name in ("universe", "bars")} == {name: before[name] for name in ("universe", "bars")}


def test_a_rejected_recycled_ticker_stays_one_instrument_and_pol_has_two(store: Store) -> None:
    with store.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["POL", "NSR"]))
        store.ids |= {str(s.ticker): s.symbol_id for s in list_symbols(connection, "US")}
    record_breaks(store, "POL.US", {"2019-06-28": 42.0, "2024-03-01": 0.0003})
    record_breaks(store, "NSR.US", {"2015-08-03": 8.9, "2021-08-31": 9.1})  # 2015's rows have the prices of 2021
    (decision,) = store.user.run_cli("decisions list --format json").json
    assert decision["subject"] == "POL.US named 2 instruments"
    store.run(f"decisions reject {decision['id']}")
    assert store.user.run_cli("decisions list --format json").json == []
    assert store.list_lives() == []
    record_breaks(store, "POL.US", {"2012-01-03": 5.0, "2019-06-28": 42.0, "2024-03-01": 0.0003})
    (other,) = store.user.run_cli("decisions list --format json").json  # other days are another matter
    assert other["subject"] == "POL.US named 3 instruments"


def test_times_of_decisions_are_utc(store: Store) -> None:
    store.run(f"{RENAME} --yes")
    (recorded_at,) = store.execute("SELECT DISTINCT recorded_at FROM backfill.listings")[0]
    assert recorded_at == datetime(2026, 6, 3, 14, tzinfo=UTC)
    with store.database.transaction() as connection:
        assert list_findings(connection) == []
