"""``decisions``: the inbox on the command line, what each answer changes, and what an undo restores."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from backfill_assets.alerts.open_decisions import observe_decisions
from backfill_assets.alerts.state_changes import record_observations
from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox
from backfill_assets.backfill.decisions.kind import DecisionRefused
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.store.evidence.confirmed_lives import read_proposed_lives
from backfill_assets.store.evidence.daily_data import ListingLife, record_closure, record_listing_lives
from backfill_assets.store.evidence.finding_ends import find_closures
from backfill_assets.store.evidence.findings import (
    CALENDAR_DRIFT,
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    Finding,
    list_findings,
    record_finding,
)
from backfill_assets.store.evidence.proposals import Answer
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.test_reports_and_alerts import Page
from backfill_assets_tests.conftest import NOW

MakeUser = Callable[..., User]
TUESDAY, MONDAY, FRIDAY = date(2026, 6, 2), date(2026, 6, 1), date(2026, 5, 29)
OPEN = datetime(2026, 6, 2, 13, 30, tzinfo=UTC)  # of Tuesday's session
LONG_AGO = NOW - timedelta(days=2)
BARS = "SELECT open_price::float8, high_price::float8, close_price::float8, volume, source_rows FROM market_data"
DOUBTS = "SELECT outcome, marks_bar, ended_at, outcome_reason, values_hash FROM backfill.doubts ORDER BY doubt_id"
REJECTS = "SELECT volume, superseded_intervals, superseded_at FROM backfill.rejects ORDER BY timestamp"


class Inbox:
    """A store with some symbols, whose bars and doubts a test writes, and a user of the command line."""

    def __init__(self, user: User, database: Database) -> None:
        self.user, self.database = user, database
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
            self.ids = {str(s.ticker): s.symbol_id for s in list_symbols(connection, "US")}

    def execute(self, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def store_bar(self, start: datetime, ticker: str = "AAPL.US", high: float = 101.0, volume: int = 1000) -> None:
        self.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume, source, source_interval, source_rows, is_final, fetched_at)"
            " VALUES (%(id)s, '30m', %(at)s, 100, %(high)s, 99, 100.5, %(volume)s, 'x', '5m', 5, true, now())"
            " ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE"
            " SET high_price = EXCLUDED.high_price, volume = EXCLUDED.volume, fetched_at = clock_timestamp()",
            {"id": self.ids[ticker], "at": start, "high": high, "volume": volume},
        )

    def open_doubt(
        self,
        start: datetime = OPEN,
        rule: str = "price_spike",
        ticker: str = "AAPL.US",
        *,
        withheld: int = 0,
        opened_at: datetime = LONG_AGO,
        has_bar: bool = True,
        from_audit: bool = False,
    ) -> None:
        """Open a doubt about one bar, as a run does that reads it."""
        if has_bar:
            self.store_bar(start, ticker)
        self.execute(
            "INSERT INTO backfill.doubts (symbol_id, interval_type, source_interval, session_day, rule, first_slot,"
            " last_slot, figures, values_hash, withheld_volume, from_rows, from_audit, opened_at, seen_at)"
            " VALUES (%(id)s, '30m', '5m', %(at)s::date, %(rule)s, %(at)s, %(at)s, %(figures)s, 'of the opening',"
            " %(withheld)s, true, %(from_audit)s, %(opened_at)s, %(opened_at)s)",
            {
                "id": self.ids[ticker],
                "at": start,
                "rule": rule,
                "figures": json.dumps({"high": 9999.0, "day_high": 101.25}),
                "withheld": withheld,
                "from_audit": from_audit,
                "opened_at": opened_at,
            },
        )

    def record(self, kind: str, subject: str, detail: str) -> None:
        with self.database.transaction() as connection:
            record_finding(connection, Finding(kind, subject, detail, LONG_AGO))

    def run(self, command: str | Sequence[str]) -> str:
        result = self.user.run_cli(command)
        assert result.code == 0, result
        return result.out

    def refuse(self, command: str | Sequence[str]) -> str:
        result = self.user.run_cli(command)
        assert result.code == 2, result
        return result.err

    def read(self, options: str = "") -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.user.run_cli(f"decisions list --format json {options}").json
        return listed

    def show(self, decision_id: int) -> dict[str, Any]:
        shown: dict[str, Any] = self.user.run_cli(f"decisions show {decision_id} --format json").json
        return shown

    def list_active(self) -> list[str]:
        with self.database.transaction() as connection:
            return [str(symbol.ticker) for symbol in list_symbols(connection, "US")]

    def list_findings(self) -> list[str]:
        with self.database.transaction() as connection:
            return [finding.subject for finding in list_findings(connection)]


@pytest.fixture
def inbox(make_user: MakeUser, database: Database) -> Inbox:
    return Inbox(make_user(), database)


def test_neighbouring_doubts_by_one_rule_are_one_decision(inbox: Inbox) -> None:
    assert inbox.run("decisions list") == "no decision waits\n"
    for days in (0, 1, 4, 30):
        inbox.open_doubt(OPEN - timedelta(days=days))
    inbox.open_doubt(rule="frozen", has_bar=False)
    inbox.open_doubt(ticker="MSFT.US")
    subjects = {
        "AAPL.US frozen 2026-06-02": 1,
        "AAPL.US price_spike 2026-05-03": 1,
        "AAPL.US price_spike 2026-05-29 to 2026-06-02 (3 sessions)": 3,
        "MSFT.US price_spike 2026-06-02": 1,
    }
    assert {decision["subject"]: len(decision["refers_to"]) for decision in inbox.read()} == subjects
    assert [d["ticker"] for d in inbox.read("--rule price_spike --ticker msft")] == ["MSFT.US"]
    assert "4 decisions wait\n" in inbox.run("decisions list")
    assert "4 decisions accepted" in inbox.run("decisions accept --kind doubt")
    assert inbox.read() == []


def test_show_gives_figures_the_rule_and_the_way_to_more(inbox: Inbox) -> None:
    inbox.open_doubt(withheld=25_000_000, rule="volume_running_total")
    bar = {"slot": "2026-06-02T13:30:00Z", "high": 101.5}
    said = {"source_interval": "1m", "answer": "kept", "bars": [bar]}
    inbox.execute("UPDATE backfill.doubts SET other_feed = %(said)s", {"said": json.dumps(said)})
    shown = inbox.run("decisions show 1")
    for line in (
        "decision             1, doubt: AAPL.US volume_running_total 2026-06-02\n",
        "state                waits (since 2026-06-03 14:00 UTC)\n",
        "rule                 the volume is the session's total so far, not the row's own\n",
        "2026-06-02 13:30 UTC high 9,999 · day high 101.25 · withheld 25,000,000 shares ·"
        " the vendor's other feed (1m): does not settle it"
        " · its bar: 2026-06-02T13:30:00Z  high 101.5 ·",
        "(rejecting: it is right, and 25,000,000 withheld shares are put back into it)\n",
        "more                 backfill-assets why AAPL.US 2026-06-02\n",
    ):
        assert line in shown, shown


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("SET opened_at = '2026-06-03 13:00Z'", "optional"),  # other data may settle it within a day
        ("SET opened_at = '2026-06-03 13:00Z', from_audit = true", "waits"),  # nothing is requested for it
        ("SET outcome = 'stands', ended_at = now()", "optional"),  # it is marked and counted, without an alarm
    ],
)
def test_doubts_that_need_no_answer_do_not_wait(inbox: Inbox, change: str, state: str) -> None:
    inbox.open_doubt()
    inbox.execute(f"UPDATE backfill.doubts {change}")
    (decision,) = inbox.read()
    assert decision["state"] == state
    assert inbox.run("decisions list").endswith(
        "1 decision waits\n" if state == "waits" else "no decision waits · 1 more may be decided\n"
    )


def test_an_accepted_doubt_keeps_its_mark_until_it_is_undone(inbox: Inbox) -> None:
    inbox.open_doubt()
    inbox.read()
    before = inbox.execute(DOUBTS)
    assert "1 accepted: AAPL.US price_spike 2026-06-02\n" in inbox.run(
        ["decisions", "accept", "1", "--note", "no  tape"]
    )
    ((outcome, marks_bar, ended_at, reason, _),) = inbox.execute(DOUBTS)
    assert (outcome, marks_bar, ended_at) == ("decided", True, NOW)
    assert reason.startswith("accepted by ")
    assert reason.endswith(": no tape")
    (decision,) = inbox.read("--all")
    assert (decision["state"], decision["note"], "@" in decision["decided_by"]) == ("accepted", "no tape", True)

    assert inbox.run("decisions undo 1") == "1 undone: AAPL.US price_spike 2026-06-02; it is open again\n"
    assert inbox.execute(DOUBTS) == before
    shown = inbox.show(1)
    assert (shown["state"], shown["decided_by"], shown["undone_by"]) == ("waits", None, shown["history"][1]["by"])
    assert [(entry["action"], entry["note"]) for entry in shown["history"]] == [
        ("accepted", "no tape"),
        ("undone", None),
    ]


def test_a_rejected_doubt_puts_its_volume_back_and_an_undo_takes_it_out(inbox: Inbox) -> None:
    inbox.open_doubt(withheld=25_000, rule="volume_running_total")
    inbox.execute(
        "INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason, volume)"
        " VALUES (%(id)s, '5m', %(at)s, 'volume_running_total', 25000),"
        " (%(id)s, '5m', %(at)s + interval '30 minutes', 'volume_running_total', 7)",
        {"id": inbox.ids["AAPL.US"], "at": OPEN + timedelta(minutes=10)},
    )
    inbox.read()
    before = [inbox.execute(query) for query in (BARS, DOUBTS, REJECTS)]
    inbox.run("decisions reject 1")
    assert inbox.execute(BARS) == [(100, 101, 100.5, 26_000, 6)]
    assert inbox.execute(REJECTS) == [(25_000, ["30m"], None), (7, [], None)]
    assert inbox.execute("SELECT volume, source_rows, decision_id FROM backfill.revisions") == [(1000, 5, 1)]
    assert [row[:2] for row in inbox.execute(DOUBTS)] == [("decided", False)]
    assert inbox.execute("SELECT source FROM market_data") == [("x",)]
    assert inbox.read() == []

    inbox.run("decisions undo 1")
    assert [inbox.execute(query) for query in (BARS, DOUBTS, REJECTS)] == before
    assert [d["state"] for d in inbox.read()] == ["waits"]
    inbox.run("decisions reject 1")
    inbox.store_bar(OPEN, high=102.0)
    assert "its bars or doubts have changed since" in inbox.refuse("decisions undo 1")


def test_a_volume_is_not_put_back_into_a_bar_of_another_program(inbox: Inbox) -> None:
    inbox.open_doubt(withheld=25_000, rule="volume_running_total")
    inbox.read()
    inbox.execute("UPDATE market_data SET source = NULL, source_interval = NULL, is_final = NULL")
    assert "is no longer the one that its volume was withheld from" in inbox.refuse("decisions reject 1")
    assert [d["state"] for d in inbox.read()] == ["waits"]
    inbox.run("decisions accept 1")


def test_errors_name_the_decision_and_change_nothing(inbox: Inbox) -> None:
    inbox.open_doubt()
    inbox.open_doubt(rule="frozen", has_bar=False)
    assert "nothing to undo" in inbox.refuse(["decisions", "undo", str(inbox.read()[0]["id"])])
    several = inbox.refuse("decisions accept 1 77")
    assert "nothing was decided, because 1 of 2 decisions cannot be" in several
    assert "there is no decision 77" in several
    assert "there is no decision 77" in inbox.refuse("decisions show 77")
    assert [d["state"] for d in inbox.read()] == ["waits", "waits"]
    assert "give either IDs or one of" in inbox.refuse("decisions accept")
    assert "give either IDs or one of" in inbox.refuse("decisions accept 1 --rule frozen")
    assert "no open decision matches" in inbox.refuse("decisions reject --ticker MSFT")
    assert "unknown rule 'spike'" in inbox.refuse("decisions list --rule spike")
    assert "unknown kind 'x'" in inbox.refuse("decisions list --kind x")
    assert "--note must be a printable text" in inbox.refuse(["decisions", "accept", "1", "--note", " "])
    inbox.run("decisions accept 1")
    twice = inbox.refuse("decisions accept 1 2")
    assert "decision 1 was accepted by " in twice
    assert "backfill-assets decisions undo 1" in twice
    assert [d["id"] for d in inbox.read()] == [2]


def test_what_was_shown_is_what_is_decided(inbox: Inbox) -> None:
    """Another doubt joins after the list was read: the number alone does not decide about it."""
    inbox.open_doubt()
    inbox.read()
    inbox.open_doubt(OPEN - timedelta(days=1))
    assert "decision 1 has other values now than when it was shown" in inbox.refuse("decisions accept 1")
    assert inbox.show(1)["subject"].endswith("(2 sessions)")
    inbox.run("decisions accept 1")
    assert [row[0] for row in inbox.execute(DOUBTS)] == ["decided", "decided"]


def test_an_alert_sensor_that_reads_new_values_first_shows_them_to_nobody(inbox: Inbox) -> None:
    inbox.open_doubt()
    inbox.read()
    inbox.open_doubt(OPEN - timedelta(days=1))
    observe_decisions(inbox.database, NOW)
    assert "decision 1 has other values now than when it was shown" in inbox.refuse("decisions reject 1")
    inbox.run("decisions list")
    inbox.run("decisions reject 1")


def test_a_read_only_database_shows_what_it_has(inbox: Inbox, tmp_path: Path) -> None:
    inbox.open_doubt()
    inbox.read()
    inbox.open_doubt(OPEN - timedelta(days=1))
    inbox.open_doubt(rule="frozen", has_bar=False)
    (name,) = inbox.execute("SELECT quote_ident(current_database())")[0]
    inbox.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert inbox.user.run_cli("status --format json").json["decisions"] == {"waiting": 1, "optional": 0}
    assert [d["id"] for d in inbox.read()] == [1]
    assert inbox.show(1)["subject"] == "AAPL.US price_spike 2026-06-02"
    inbox.run(f"report --format html --output {tmp_path / 'report.html'}")
    refused = inbox.user.run_cli("decisions accept 1")
    assert (refused.code, "is read-only" in refused.err) == (5, True)


def test_a_matter_that_vanishes_is_closed_and_numbers_stay(inbox: Inbox) -> None:
    inbox.open_doubt(OPEN - timedelta(days=1))
    inbox.open_doubt()
    assert [d["id"] for d in inbox.read()] == [1]
    inbox.execute(
        "UPDATE backfill.doubts SET marks_bar = false, outcome = 'mended', ended_at = now() WHERE doubt_id = 1"
    )
    assert [(d["id"], d["subject"]) for d in inbox.read()] == [(1, "AAPL.US price_spike 2026-06-02")]
    inbox.execute(
        "UPDATE backfill.doubts SET marks_bar = false, outcome = 'mended', ended_at = now() WHERE doubt_id = 2"
    )
    assert inbox.read() == []
    assert [d["state"] for d in inbox.read("--all")] == ["closed"]
    assert "decision 1 is closed" in inbox.refuse("decisions accept 1")


def test_two_people_who_decide_at_once_decide_once(inbox: Inbox) -> None:
    inbox.open_doubt()
    refresh_inbox(inbox.database, NOW)
    outcomes: list[str] = []

    def answer(by: str, choice: Answer) -> None:
        try:
            decide(inbox.database, [1], choice, by=by, note=None, now=NOW)
            outcomes.append(by)
        except DecisionRefused as error:
            outcomes.append(str(error))

    people = [Thread(target=answer, args=who) for who in (("ann@a", Answer.ACCEPTED), ("bob@b", Answer.REJECTED))]
    for person in people:
        person.start()
    for person in people:
        person.join()
    (winner,) = {"ann@a", "bob@b"} & set(outcomes)
    (refusal,) = set(outcomes) - {winner}
    assert f"by {winner}" in refusal
    assert [(d["decided_by"], len(inbox.show(1)["history"])) for d in inbox.read("--all")] == [(winner, 1)]


def test_an_ended_ticker_is_deactivated_and_a_new_name_that_no_closes_bear_out_stays_out(inbox: Inbox) -> None:
    inbox.record(ENDED_OR_RENAMED, "AAPL.US", "no daily data after 2026-05-29; renamed to NEW on 2026-06-01")
    (decision,) = inbox.read()
    assert (decision["kind"], decision["subject"], decision["state"]) == ("rename", "AAPL.US has ended", "waits")
    assert decision["proposal"] == "deactivate AAPL.US (rejecting: AAPL.US stays active)"
    inbox.run("decisions accept 1")
    assert (inbox.list_active(), inbox.list_findings(), inbox.read()) == (["MSFT.US"], [], [])
    inbox.run("decisions undo 1")
    assert (inbox.list_active(), inbox.list_findings()) == (["AAPL.US", "MSFT.US"], ["AAPL.US"])
    inbox.run("decisions accept 1")
    inbox.run("symbols add AAPL")
    assert "has changed in the universe since" in inbox.refuse("decisions undo 1")


def test_a_rejected_proposal_is_not_made_again_for_the_same_values(inbox: Inbox) -> None:
    inbox.record(ENDED_OR_RENAMED, "AAPL.US", "no daily data after 2026-05-29")
    assert [d["subject"] for d in inbox.read()] == ["AAPL.US has ended"]
    inbox.run("decisions reject 1")
    assert (inbox.read(), inbox.list_findings()) == ([], ["AAPL.US"])
    inbox.record(ENDED_OR_RENAMED, "AAPL.US", "no daily data after 2026-06-01")
    assert [d["id"] for d in inbox.read()] == [2]
    assert "decision 2 is about the new ones" in inbox.refuse("decisions undo 1")


def test_a_ticker_without_data_is_deactivated_and_set_aside_again_by_an_undo(inbox: Inbox) -> None:
    inbox.record(NO_INTRADAY_DATA, "MSFT.US", "the vendor answers without rows, intraday and daily")
    unserved = "SELECT ended_at IS NULL FROM backfill.unserved_symbols"
    inbox.execute(
        "INSERT INTO backfill.unserved_symbols VALUES (%(id)s, %(at)s, %(at)s, 'no rows')",
        {"id": inbox.ids["MSFT.US"], "at": LONG_AGO},
    )
    assert [d["kind"] for d in inbox.read()] == ["no_data"]
    inbox.run("decisions accept 1")
    assert (inbox.list_active(), inbox.list_findings(), inbox.execute(unserved)) == (["AAPL.US"], [], [(False,)])
    inbox.run("decisions undo 1")
    assert (inbox.list_active(), inbox.list_findings()) == (["AAPL.US", "MSFT.US"], ["MSFT.US"])
    assert inbox.execute(unserved) == [(True,)]


def test_a_day_on_which_the_market_was_open_is_not_recorded_as_closed_again(inbox: Inbox) -> None:
    def find_closed(*, record: bool = False) -> set[date]:
        with inbox.database.transaction() as connection:
            if record:
                record_closure(connection, "US", MONDAY, "no file", NOW)
            return find_closures(connection, "US", [MONDAY])

    assert find_closed(record=True) == {MONDAY}
    inbox.record(CALENDAR_DRIFT, str(MONDAY), "no file")
    inbox.record(CALENDAR_DRIFT, str(FRIDAY), "trading outside the calendar's session")
    subjects = ["2026-05-29 had trading outside the session", "2026-06-01 was a closed day"]
    assert sorted(d["subject"] for d in inbox.read("--kind closure")) == subjects
    closed = next(d["id"] for d in inbox.read() if "closed" in d["subject"])
    inbox.run(f"decisions reject {closed}")
    assert (find_closed(record=True), inbox.list_findings()) == (set(), [str(FRIDAY)])
    inbox.run(f"decisions undo {closed}")
    assert (find_closed(), len(inbox.list_findings())) == ({MONDAY}, 2)
    inbox.run("decisions accept --kind closure")
    assert (find_closed(), len(inbox.list_findings()), inbox.read()) == ({MONDAY}, 2, [])


@pytest.mark.parametrize(("command", "state"), [("accept", "found"), ("reject", "refuted")])
def test_a_halt_that_the_evidence_does_not_settle_is_settled_by_a_person(
    inbox: Inbox, command: str, state: str
) -> None:
    halts = "SELECT state, decided_by IS NULL, next_request_at FROM backfill.halts ORDER BY timestamp"
    inbox.execute(
        "INSERT INTO backfill.halts (symbol_id, interval_type, timestamp, session_day, kind, state, reason,"
        " tickers_seen, tickers_lacking, volume_share, found_at, asked_at, next_request_at)"
        " SELECT %(id)s, '30m', %(at)s + n * interval '30 minutes', %(at)s::date, 'halt', 'proposed',"
        " 'too few to tell', 3, 0, 0.4, %(found)s, %(found)s, %(found)s FROM generate_series(0, 1) n",
        {"id": inbox.ids["AAPL.US"], "at": OPEN, "found": LONG_AGO},
    )
    (decision,) = inbox.read("--kind halt")
    assert (decision["subject"], decision["state"]) == ("AAPL.US has no bar in 2 slots of 2026-06-02", "waits")
    assert [line["text"] for line in decision["evidence"]][1:] == [
        "too few to tell",
        "the 1m rows hold 40% of the day's",
    ]
    before = inbox.execute(halts)
    inbox.run(f"decisions {command} 1")
    assert (inbox.execute(halts), inbox.read()) == ([(state, False, None)] * 2, [])
    inbox.run("decisions undo 1")
    assert inbox.execute(halts) == before
    inbox.run(f"decisions {command} 1")
    inbox.execute("UPDATE backfill.halts SET state = 'refuted', reason = 'a bar of the slot came'")
    assert "has changed since" in inbox.refuse("decisions undo 1")


def test_a_confirmed_life_holds_until_the_daily_data_say_otherwise(inbox: Inbox) -> None:
    def read_life(first_day: date) -> None:
        life = ListingLife(inbox.ids["AAPL.US"], first_day, TUESDAY, has_ended=False)
        with inbox.database.transaction() as connection:
            record_listing_lives(connection, [life], NOW)

    def is_confirmed() -> bool:
        with inbox.database.transaction() as connection:
            return read_proposed_lives(connection, [inbox.ids["AAPL.US"]])[inbox.ids["AAPL.US"]].is_confirmed

    read_life(MONDAY)
    for days in (4, 60):
        inbox.open_doubt(OPEN - timedelta(days=days), rule="outside_listing")
    assert [d["subject"] for d in inbox.read()] == ["AAPL.US was listed from 2026-06-01 on"]
    inbox.run("decisions accept 1")
    assert (is_confirmed(), [row[:2] for row in inbox.execute(DOUBTS)]) == (True, [("decided", True)] * 2)

    inbox.open_doubt(OPEN - timedelta(days=5), rule="outside_listing")  # of another reading, outside the same life
    assert (inbox.read(), [row[:2] for row in inbox.execute(DOUBTS)]) == ([], [("decided", True)] * 3)
    assert len(inbox.show(1)["history"]) == 2
    inbox.run("decisions undo 1")
    assert (is_confirmed(), [row[:2] for row in inbox.execute(DOUBTS)]) == (False, [(None, True)] * 3)

    inbox.run("decisions accept 1")
    read_life(TUESDAY)
    assert not is_confirmed()
    inbox.open_doubt(OPEN - timedelta(days=1), rule="outside_listing")
    assert [(d["id"], d["subject"]) for d in inbox.read()] == [(2, "AAPL.US was listed from 2026-06-02 on")]
    inbox.run("decisions reject 2")
    assert [row[:2] for row in inbox.execute(DOUBTS)][-1] == ("decided", False)


def test_status_and_the_page_show_what_waits(inbox: Inbox, tmp_path: Path) -> None:
    assert inbox.user.run_cli("status --format json").json["decisions"] == {"waiting": 0, "optional": 0}
    assert "decisions" not in inbox.run("status")
    inbox.open_doubt()
    inbox.open_doubt(rule="frozen", has_bar=False, opened_at=NOW)
    inbox.record(ENDED_OR_RENAMED, "MSFT.US", "<b> unknown to the vendor")
    inbox.run("decisions list")
    assert inbox.user.run_cli("status --format json").json["decisions"] == {"waiting": 2, "optional": 1}
    line = "2 decisions wait · 1 more may be decided (backfill-assets decisions list)\n"
    assert line in inbox.run("status")
    inbox.run(["decisions", "accept", "--kind", "rename", "--note", "<i>seen"])
    inbox.run(f"report --format html --output {tmp_path / 'report.html'}")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.contains("2 waits 2026-06-03 14:00 UTC AAPL.US price_spike 2026-06-02 the bar is wrong: keep it marked")
    assert page.contains("1 optional 2026-06-03 14:00 UTC AAPL.US frozen 2026-06-02")
    assert page.contains("Decided last")
    assert page.contains("MSFT.US has ended <i>seen")


def test_one_alert_for_all_decisions_told_again_daily_with_more_and_ended_without(inbox: Inbox) -> None:
    def tell(hours: float) -> list[str]:
        moment = NOW + timedelta(hours=hours)
        with inbox.database.transaction() as connection:
            connection.execute("DELETE FROM backfill.alert_messages")
        observation = observe_decisions(inbox.database, moment)
        with inbox.database.transaction() as connection:
            record_observations(connection, [observation], moment)
            found = connection.execute("SELECT title, body FROM backfill.alert_messages").fetchall()
        return [f"{title.removeprefix('backfill_assets: ')} | {body}" for title, body in found]

    assert tell(0) == []
    for days in (0, 30):
        inbox.open_doubt(OPEN - timedelta(days=days))
    assert tell(0.1) == [
        "2 decisions wait | decisions: 2 decisions wait: 2 doubts; oldest: AAPL.US price_spike 2026-05-03\n"
        "since: 2026-06-03 14:06 UTC\nnext step: backfill-assets decisions list"
    ]
    assert tell(0.2) == tell(30) == tell(80) == []  # nothing new
    inbox.record(ENDED_OR_RENAMED, "MSFT.US", "unknown to the vendor")
    (message,) = tell(81)
    assert message.startswith("3 decisions wait | decisions: 3 decisions wait: 2 doubts, 1 renamed or ended ticker;")
    inbox.open_doubt(rule="frozen", has_bar=False)
    assert tell(82) == []  # at most daily
    (message,) = tell(105)
    assert message.startswith("4 decisions wait | ")
    inbox.run("decisions accept --ticker AAPL")
    inbox.run("decisions reject --ticker MSFT")
    assert tell(106) == ["no decision waits | no decision waits, for the first time in 4 days"]
