"""HTML reports, terminal reports, alerts and settings from the command line."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from backfill_assets.alerts.causes import read_diagnostics
from backfill_assets.alerts.delivery import DeliveryResult
from backfill_assets.alerts.notify import build_observations, process_observations
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.action_entries import ActionEntry, ActionState
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.quality.heatmap import Cell, Heatmap
from backfill_assets.quality.html_report import to_html
from backfill_assets.quality.html_report_data import collect_report_data
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.actions.action_versions import ActionVersion
from backfill_assets.store.evidence.findings import Finding
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import TOKEN, User
from backfill_assets_tests.conftest import NOW, make_job, make_monday_tuesday_job
from backfill_assets_tests.integration.alert_receiver import SECRET, Receiver
from backfill_assets_tests.moving_clock import MovingClock, parse_utc

MakeUser = Callable[..., User]
Cells: TypeAlias = NDArray[np.int64]
StartSandbox = Callable[..., Sandbox]
MSFT_WITHOUT_TUESDAY = Publication(never_published=frozenset({("MSFT", date(2026, 6, 2))}))


class Page(HTMLParser):
    """The texts and attributes of an HTML page; fails if tags are not balanced."""

    VOID = frozenset({"meta", "br", "path", "use", "rect", "image"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open_tags: list[str] = []
        self.feed(html)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(" ".join(data.split()))

    def contains(self, text: str) -> bool:
        return text in " ".join(self.texts)


def test_html_report_shows_totals_checks_and_gaps(
    make_user: MakeUser, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    user = make_user(start_sandbox(publication=MSFT_WITHOUT_TUESDAY))
    user.run_cli("symbols add AAPL MSFT TSLA")
    user.run_cli("run --quiet")
    result = user.run_cli(f"report --format html --output {tmp_path / 'report.html'}")
    assert (result.code, result.out) == (0, "")
    html = (tmp_path / "report.html").read_text("utf-8")
    page = Page(html)
    assert page.contains("13 bars are missing in 1 of 3 symbols")
    assert page.contains("78 13 65")  # before, after, bars added
    assert page.contains("✗ FAIL no_missing_bars 13 bars are missing in 1 symbol (at most 0) MSFT.US (13)")
    assert page.contains("✓ pass no_rate_limit_errors")
    assert page.contains("bars_are_valid 0 rule violations in 65 bars")
    assert page.contains("MSFT.US missing 2026-06-02, pending 2026-06-03")
    assert page.contains("2 other symbols pending 2026-06-03")
    assert page.contains("calls spent here today")
    assert "prefers-color-scheme: dark" in html
    assert "<script" not in html
    links = {value for name, value in page.attributes if name in ("src", "href", "xlink:href")}
    assert links
    # the page loads nothing from other files or hosts
    assert not [link for link in links if not link.startswith(("data:image/png", "#"))]


def test_html_report_without_sessions_shows_no_session_is_due(make_user: MakeUser) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    page = Page(user.run_cli("report --format html --start 2026-05-30 --end 2026-05-31").out)
    assert page.contains("No session is due")
    assert page.contains("No run has finished yet")


def test_html_report_escapes_text(make_engine: Callable[..., Engine], start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(), ("AAPL",))
    with engine.database.transaction() as connection:
        connection.execute("INSERT INTO backfill.findings VALUES ('<u>kind', '<s>', '{{ 7 * 6 }}<b>', now())")
    job = make_monday_tuesday_job(engine)
    hostile = replace(job.symbols[0], ticker=Ticker('<i>&"$x$'))  # such a row of the table is not used
    coverage = engine.measure(replace(job, symbols=(hostile,)))
    html = to_html(collect_report_data(engine.database, engine.settings, coverage, "<q>", job.source_interval))
    page = Page(html)
    for text in ('<i>&"$x$', "<u>kind", "<s>: {{ 7 * 6 }}<b>", "<q>: 2 sessions"):
        assert page.contains(text), text
    assert not {"<i>", "<u>", "<s>", "<b>{", "<q>"} & {html[at : at + 3] for at in range(len(html))}


CELLS_WITHOUT_GAPS = np.array([Cell.PROVISIONAL, Cell.PENDING, Cell.NO_TRADE, Cell.COMPLETE])


def draw_random_cells(rows: int, sessions: int) -> Cells:
    return np.random.default_rng(1).integers(0, 8, (rows, sessions))


def draw_alternating_cells(rows: int, sessions: int) -> Cells:
    return np.random.default_rng(1).integers(1, 6, (rows, sessions)).cumsum(axis=1) % 6


def draw_cells_without_gaps(rows: int, sessions: int) -> Cells:
    return CELLS_WITHOUT_GAPS[np.random.default_rng(1).integers(0, 4, (rows, sessions))]


def make_dividend(ticker: str, ex_date: date) -> ActionEntry:
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(ActionVersion))
    known = {"known_from": NOW, "first_seen": NOW, "ex_date": ex_date, "period": "quarterly", "source": "/div"}
    terms = {"kind": "dividend", "amount": Decimal("0.125"), "currency": "USD"}
    return ActionEntry(ticker, ActionState.EFFECTIVE, ActionVersion(**{**values, **known, **terms}))


@pytest.fixture
def render_page(make_engine: Callable[..., Engine], start_sandbox: StartSandbox) -> Callable[[Cells], str]:
    engine = make_engine(start_sandbox(), tuple(f"S{n:04}" for n in range(50)))
    window = make_job(engine, start=date(2026, 3, 9), end=date(2026, 6, 2))
    summary = collect_report_data(
        engine.database, engine.settings, engine.measure(window), "long", window.source_interval
    )

    def render(cells: Cells) -> str:
        rows, sessions = cells.shape
        days = tuple(date(2024, 9, 2) + timedelta(days=n) for n in range(sessions))
        symbols = tuple(f"SYMB{n:04}.US" for n in range(rows))
        marks = {(symbol, day): "dividend of 0.125 USD, weekly" for symbol in symbols for day in days[::5]}
        heatmap = Heatmap(symbols, days, cells.astype(np.int8), marks)
        detail = (
            "no daily data after 2026-05-29; renamed to SYMBOL on 2026-06-01, see the vendor's list of symbol changes"
        )
        findings = [Finding("ended or renamed", symbol, detail, summary.now) for symbol in heatmap.symbols]
        actions = [make_dividend(symbol, days[-1]) for symbol in symbols]
        return to_html(replace(summary, heatmap=heatmap, actions=actions, findings=findings))

    return render


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("draw_cells", "rows", "sessions", "omitted"),
    [
        (draw_random_cells, 500, 60, "500 symbols × 60 sessions"),
        (draw_alternating_cells, 500, 500, "the newest 60 of 500 sessions"),
        (draw_alternating_cells, 5000, 90, "4,500 more symbols"),
        (draw_cells_without_gaps, 5000, 90, "4,950 other symbols"),
    ],
)
def test_large_html_report_is_under_2_mb_and_names_omitted_rows(
    render_page: Callable[[Cells], str],
    draw_cells: Callable[[int, int], Cells],
    rows: int,
    sessions: int,
    omitted: str,
) -> None:
    html = render_page(draw_cells(rows, sessions))
    assert len(html.encode()) < 2_000_000
    assert Page(html).contains(omitted)
    assert ("Only the newest" in html) is (sessions > 60)
    assert Page(html).contains(f"and {rows - 300:,} older findings: backfill-assets status --all lists all")
    assert html.count("provisional 20") > 200
    assert Page(html).contains(f"And {rows - 100:,} older ones: backfill-assets actions list")


def test_terminal_report_shows_a_heatmap_of_symbols_with_gaps(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox(publication=MSFT_WITHOUT_TUESDAY))
    user.run_cli("symbols add AAPL MSFT TSLA")
    user.run_cli("run --quiet")
    lines = user.run_cli("report").out.splitlines()
    assert lines[-3:] == [
        "MSFT.US  ·X~",
        "1 of 3 symbols has gaps",
        "X missing   ~ pending   · complete",
    ]


def test_alerts_report_failure_recovery_and_given_up_gaps(
    make_engine: Callable[..., Engine], start_sandbox: StartSandbox, make_user: MakeUser
) -> None:
    """A gap is reported with its cause; twelve days later it is given up, which is not reported as a recovery."""
    sandbox = start_sandbox(publication=MSFT_WITHOUT_TUESDAY, per_minute=100_000)
    clock = MovingClock(make_engine(sandbox, ("AAPL", "MSFT"), requests_per_minute=100_000), sandbox, date(2026, 6, 1))

    def process_checks(receiver: Receiver, now: str) -> DeliveryResult:
        engine = clock.move_to(parse_utc(now))
        window = engine.measure(make_job(engine))
        diagnostics = read_diagnostics(engine.database, engine.settings, window)
        coverage = clock.measure(parse_utc(now), end=date(2026, 6, 2))
        observations = build_observations(
            evaluate_window(engine.database, window), parse_utc(now), diagnostics, coverage
        )
        settings = engine.settings.model_copy(update={"alert_urls": (SecretStr(receiver.url),)})
        return process_observations(engine.database, settings, observations, parse_utc(now))

    with Receiver() as receiver:
        user = make_user(sandbox, BACKFILL_ALERT_URLS=receiver.url)
        start = parse_utc("2026-06-03 13:00")
        clock.run(start)
        assert [process_checks(receiver, f"2026-06-03 {hour}:00").sent for hour in (13, 13, 14)] == [1, 0, 0]
        alerts = user.run_cli("alerts list --as-of 2026-06-03T14:00:00Z").out
        assert "FAIL  no_missing_bars since 2026-06-03T13:00:00Z: 13 bars are missing in 1 symbol" in alerts
        assert "address 1 (json)" in alerts
        assert receiver.titles == ["FAILING: no_missing_bars and 1 more"]
        assert "likely cause: one symbol: MSFT.US" in receiver.messages[0]["message"]
        for hours in (1, 4, 10, 22, 46):
            clock.run(start + timedelta(hours=hours))
        assert process_checks(receiver, "2026-06-05 13:00").sent == 2  # Tuesday left the window without new data
        assert receiver.titles[1:] == ["STILL FAILING: no_missing_bars", "RECOVERED: newest_bar_is_fresh"]
        for hours in range(70, 310, 24):
            clock.run(start + timedelta(hours=hours))
        assert (
            clock.measure(parse_utc("2026-06-15 12:00"), end=date(2026, 6, 2)).count_slots(SlotState.VENDOR_GAP) == 13
        )
        process_checks(receiver, "2026-06-15 12:00")
        assert receiver.titles[3:] == ["GIVEN UP: no_missing_bars"]
        assert "sessions: MSFT.US 2026-06-02 (13)" in receiver.messages[3]["message"]


def test_alerts_test_sends_one_message(make_user: MakeUser) -> None:
    with Receiver() as receiver:
        result = make_user(BACKFILL_ALERT_URLS=receiver.url).run_cli("alerts test --debug")
        assert (result.code, result.out) == (0, "address 1 (json): delivered\n")
        assert receiver.titles == ["TEST"]
        receiver.status = 404
        urls = f'["{receiver.url}", "json://127.0.0.1:9/{SECRET}"]'
        failed = make_user(BACKFILL_ALERT_URLS=urls).run_cli("alerts test --debug")
    assert (failed.code, failed.out.splitlines()) == (
        3,
        ["address 1 (json): HTTP status 404", "address 2 (json): unreachable, or rejected the message"],
    )
    assert SECRET not in result.err + failed.err


@pytest.mark.parametrize("urls", ["", "hush-4711", "json://x hush-4711"])
def test_invalid_alert_addresses_are_refused(make_user: MakeUser, urls: str) -> None:
    result = make_user(BACKFILL_ALERT_URLS=urls).run_cli("alerts test")
    assert (result.code, "BACKFILL_ALERT_URLS" in result.err, "hush" in result.err) == (2, True, False)


def test_alerts_list_without_alerts_shows_that_checks_pass(make_user: MakeUser, database: Database) -> None:
    user = make_user()
    assert user.run_cli("alerts list").out.splitlines() == [
        "all observed checks pass",
        "no alert destinations: BACKFILL_ALERT_URLS is not set",
    ]
    assert user.run_cli("alerts list --format json").json == {"failing": [], "addresses": []}
    output = make_user(BACKFILL_ALERT_URLS=f"json://127.0.0.1:9/{SECRET}").run_cli("alerts list").out
    assert output.splitlines()[1:] == ["address 1 (json): 0 waiting · nothing sent yet"]


def test_settings_shows_values_and_masks_secrets(make_user: MakeUser) -> None:
    user = make_user(BACKFILL_ALERT_URLS="json://x/hush json://y/hush", BACKFILL_MINUTE_SHARE="0.5")
    result = user.run_cli("settings --format json")
    assert user.run_cli("settings --format markdown").out.startswith("# Settings")
    values = {row["variable"]: (row["value"], row["default"]) for row in result.json}
    assert values["BACKFILL_MINUTE_SHARE"] == ("0.5", "0.8")
    assert values["BACKFILL_ALERT_URLS"] == ('["***", "***"]', "unset")
    assert values["EODHD_API_TOKEN"][0] == values["DATABASE_URL"][0] == "***"
    assert not [secret for secret in ("hush", TOKEN) if secret in result.out + user.run_cli("settings").out]
