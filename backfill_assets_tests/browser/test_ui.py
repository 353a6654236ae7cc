"""The Dagster UI in a real browser.

Screenshots go to the folder that ``BROWSER_SCREENSHOTS`` names; ``make screenshots`` renews those of the README.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import build_child_environment
from backfill_assets.sandbox.config import Publication
from backfill_assets_tests.acceptance.dagster_dev import DagsterDev, run_dagster_dev, wait_for
from backfill_assets_tests.conftest import StartSandbox, make_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols
from backfill_assets_tests.waiting import LONGEST_SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"),
]
BROWSER_OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
TIMEOUT_MS = 1000 * LONGEST_SECONDS
expect.set_options(timeout=TIMEOUT_MS)
SYMBOLS = tuple(list_sandbox_symbols(6))
FOUR_DAYS = {"start": date(2026, 5, 28), "end": date(2026, 6, 2)}
Deployment = tuple[Engine, DagsterDev]


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser page; request it after ``deployment``, since Playwright occupies the thread's event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_OPTIONS)
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.set_default_timeout(TIMEOUT_MS)
        yield page
        browser.close()


@pytest.fixture
def deployment(
    make_engine: Callable[..., Engine], start_sandbox: StartSandbox, create_database: Callable[..., str], tmp_path: Path
) -> Iterator[Deployment]:
    """Six symbols, three of them backfilled; the vendor never publishes one session of AMZN."""
    sandbox = start_sandbox(symbols=6, publication=Publication(never_published=frozenset({("AMZN", date(2026, 6, 2))})))
    engine = make_engine(
        sandbox,
        SYMBOLS,
        **{"partition_days": 5, "sensor_seconds": 2, "auto": False, "dagster_postgres_url": create_database(None)},
    )
    run_backfill(engine, make_job(engine, **FOUR_DAYS, symbols=["AAPL", "AMZN", "MSFT"]), ignore_progress)
    with run_dagster_dev(tmp_path / "log", build_child_environment(engine.settings)) as dev:
        dev.start_sensor("symbol_partitions_sensor")
        wait_for(lambda: dev.count_symbols("bars_30m") == len(SYMBOLS), "the symbols to be partitions")
        yield engine, dev


def take_screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("BROWSER_SCREENSHOTS"):
        page.wait_for_timeout(800)  # for the screenshot only: dialogs fade in
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_user_fills_a_gap_in_the_ui_and_sees_missing_bars(deployment: Deployment, page: Page) -> None:
    engine, dev = deployment
    page.goto(f"{dev.url}/assets")
    expect(page.get_by_text("bars_30m").first).to_be_visible()
    expect(page.get_by_text("data_quality_report").first).to_be_visible()

    # no materialisation is recorded yet
    page.goto(f"{dev.url}/assets/bars_30m?view=partitions")
    expect(page.get_by_text("Missing (30)")).to_be_visible()

    # materialise one missing partition
    page.get_by_text("2026-06-02", exact=True).first.click()
    page.get_by_text("TSLA.US", exact=True).first.click()
    expect(page.get_by_text("2026-06-02|TSLA.US").first).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Launch 1 run").click()
    wait_for(lambda: dev.count_materialized("bars_30m") == 1, "the partition to be materialised")
    assert len(read_stored_bars(engine.database, "TSLA")) == 4 * 13  # the run also fills the symbol's other sessions
    page.goto(f"{dev.url}/assets/bars_30m?view=partitions&partition=2026-06-02%7CTSLA.US")
    expect(page.get_by_text("Materialized (1)")).to_be_visible()
    expect(page.get_by_text("127.0.0.1 5m")).to_be_visible()

    # the sensor fills the other gaps; the session that the vendor never publishes stays missing
    dev.start_sensor("gap_backfill_sensor")
    wait_for(lambda: dev.count_materialized("bars_30m") == 23, "23 partitions to be materialised")
    page.goto(f"{dev.url}/assets/bars_30m?view=partitions")
    expect(page.get_by_text("Materialized (23)")).to_be_visible()
    expect(page.get_by_text("Missing (7)")).to_be_visible()  # today's six, and AMZN's Tuesday
    take_screenshot(page, "partitions")

    # the failed check names that session
    page.goto(f"{dev.url}/assets/bars_30m?view=checks&checkDetail=no_missing_bars")
    expect(page.get_by_text("AMZN.US (13)").first).to_be_visible()
    expect(page.get_by_text("13 bars are missing in 1 symbol").first).to_be_visible()
    take_screenshot(page, "failed-check")

    # the report shows a heatmap of missing bars
    page.goto(f"{dev.url}/assets/data_quality_report")
    page.get_by_role("button", name="Materialize").first.click()
    wait_for(lambda: dev.is_materialized("data_quality_report"), "the report")
    page.goto(f"{dev.url}/assets/data_quality_report")
    page.get_by_text("Show Markdown").first.click()
    picture = page.locator("img[src^='data:image/png']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    take_screenshot(page, "heat-map")
