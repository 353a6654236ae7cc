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
from backfill_assets_tests.acceptance.dagster_dev import DagsterDev, dagster_dev, until
from backfill_assets_tests.conftest import Sandboxed, bars_in, job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols
from backfill_assets_tests.waiting import LONGEST_SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"),
]
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE = 1000 * LONGEST_SECONDS  # milliseconds
expect.set_options(timeout=PATIENCE)
SYMBOLS = tuple(list_sandbox_symbols(6))
FOUR_DAYS = {"start": date(2026, 5, 28), "end": date(2026, 6, 2)}
Deployment = tuple[Engine, DagsterDev]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser; after the deployment, since Playwright occupies the thread's event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


@pytest.fixture
def deployment(
    engine_on: Callable[..., Engine], sandboxed: Sandboxed, new_database: Callable[..., str], tmp_path: Path
) -> Iterator[Deployment]:
    """Six symbols: three are backfilled, one of them without the session that the vendor never publishes."""
    sandbox = sandboxed(symbols=6, publication=Publication(never_published=frozenset({("AMZN", date(2026, 6, 2))})))
    engine = engine_on(
        sandbox,
        SYMBOLS,
        **{"partition_days": 5, "sensor_seconds": 2, "auto": False, "dagster_postgres_url": new_database(None)},
    )
    run_backfill(engine, job(engine, **FOUR_DAYS, symbols=["AAPL", "AMZN", "MSFT"]), ignore_progress)
    with dagster_dev(tmp_path / "log", build_child_environment(engine.settings)) as dev:
        dev.set_running("symbol_partitions_sensor")
        until(lambda: dev.symbols("bars_30m") == len(SYMBOLS), "the symbols to be partitions")
        yield engine, dev


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("BROWSER_SCREENSHOTS"):
        page.wait_for_timeout(800)  # for the picture only: dialogs fade in
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_user_fills_a_gap_by_clicks_and_sees_what_is_missing(deployment: Deployment, page: Page) -> None:
    engine, dev = deployment
    page.goto(f"{dev.url}/assets")
    expect(page.get_by_text("bars_30m").first).to_be_visible()
    expect(page.get_by_text("data_quality_report").first).to_be_visible()

    # nothing is recorded yet: every partition is missing
    page.goto(f"{dev.url}/assets/bars_30m?view=partitions")
    expect(page.get_by_text("Missing (30)")).to_be_visible()

    # one missing partition is materialised by clicks
    page.get_by_text("2026-06-02", exact=True).first.click()
    page.get_by_text("TSLA.US", exact=True).first.click()
    expect(page.get_by_text("2026-06-02|TSLA.US").first).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Launch 1 run").click()
    until(lambda: dev.green("bars_30m") == 1, "the partition to be green")
    assert len(bars_in(engine.database, "TSLA")) == 4 * 13  # its other open sessions came along
    page.goto(f"{dev.url}/assets/bars_30m?view=partitions&partition=2026-06-02%7CTSLA.US")
    expect(page.get_by_text("Materialized (1)")).to_be_visible()
    expect(page.get_by_text("127.0.0.1 5m")).to_be_visible()

    # the sensor fills the rest; the session that the vendor never publishes stays missing
    dev.set_running("gap_backfill_sensor")
    until(lambda: dev.green("bars_30m") == 23, "everything but one to be green")
    page.goto(f"{dev.url}/assets/bars_30m?view=partitions")
    expect(page.get_by_text("Materialized (23)")).to_be_visible()
    expect(page.get_by_text("Missing (7)")).to_be_visible()  # today's six, and AMZN's Tuesday
    shoot(page, "partitions")

    # and the failed check names it
    page.goto(f"{dev.url}/assets/bars_30m?view=checks&checkDetail=no_missing_bars")
    expect(page.get_by_text("AMZN.US (13)").first).to_be_visible()
    expect(page.get_by_text("13 bars are missing in 1 symbols").first).to_be_visible()
    shoot(page, "failed-check")

    # the report shows where something is missing, as a picture
    page.goto(f"{dev.url}/assets/data_quality_report")
    page.get_by_role("button", name="Materialize").first.click()
    until(lambda: dev.materialised("data_quality_report"), "the report")
    page.goto(f"{dev.url}/assets/data_quality_report")
    page.get_by_text("Show Markdown").first.click()
    picture = page.locator("img[src^='data:image/png']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    shoot(page, "heat-map")
