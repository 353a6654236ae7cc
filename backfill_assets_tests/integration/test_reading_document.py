"""Every snippet of docs/reading.md is executed, in its order, against a store that was filled from the sandbox."""

import re
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.cli.main import cli
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import US
from backfill_assets.reading.dagster import BarsResource
from backfill_assets.sandbox.actions import Split
from backfill_assets.sandbox.config import DataQuirks, ExchangeConfig, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW, make_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress
from backfill_assets_tests.unit.document_passages import ROOT

DOCUMENT = ROOT / "docs" / "reading.md"
SNIPPET = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FRIDAY, MONDAY, TUESDAY = date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2)
FIRST_RUN = datetime(2026, 6, 2, 11, 0, tzinfo=UTC)  # the vendor corrects Monday's bars later
STAMPS = (
    ("market_data", "fetched_at"),
    *(("backfill.bar_versions", column) for column in ("fetched_at", "known_from", "known_to")),
)
CORRECTED = (0.6, 0.9)  # days after they were published


@pytest.fixture
def filled(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """Runs on Tuesday and Wednesday morning: AAPL splits on Tuesday, TSLA's Monday is never published.

    Two symbols of London are loaded on Wednesday.
    """
    sandbox = start_sandbox(
        now=FIRST_RUN,
        per_minute=100_000,
        splits={},
        actions={"AAPL": (Split(TUESDAY, 4),)},
        publication=Publication(never_published=frozenset({("TSLA", MONDAY)})),
        quirks=DataQuirks(revisions=1.0, revision_days=CORRECTED),
        exchanges={"LSE": ExchangeConfig(symbols=1, more_symbols=("VOD", "BP"))},
    )
    settings = {"daily_data": True, "partition_days": 3, "requests_per_minute": 100_000}
    engine = make_engine(sandbox, ("AAPL", "MSFT", "TSLA"), **settings)
    begun = []
    for moment, last in ((FIRST_RUN, MONDAY), (NOW, TUESDAY)):
        sandbox.move_clock(moment)
        engine = replace(engine, settings=engine.settings.model_copy(update={"as_of": moment}))
        begun.append(datetime.now(UTC))
        run_backfill(engine, make_job(engine, start=FRIDAY, end=last), ignore_progress)
        read_daily_data(engine, US)
    with engine.database.transaction() as connection:
        add_symbols(connection, [Ticker("VOD", "LSE"), Ticker("BP", "LSE")])
    both = replace(engine, settings=engine.settings.model_copy(update={"exchanges": ("US", "LSE")}))
    run_backfill(both, make_job(both, exchange="LSE", start=MONDAY, end=TUESDAY), ignore_progress)
    date_back(engine, begun[1])
    monkeypatch.setenv("DATABASE_URL", engine.database.url)
    monkeypatch.setenv("BACKFILL_AS_OF", NOW.isoformat())
    return engine


def date_back(engine: Engine, second_run: datetime) -> None:
    """Stamp what the runs wrote with their mornings: the store goes by the server's clock, which no test can set."""
    values = {"second_run": second_run, "first": FIRST_RUN, "second": NOW}
    with engine.database.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # no trigger
        for table, column in STAMPS:
            connection.execute(
                f"UPDATE {table} SET {column} = CASE WHEN {column} < %(second_run)s THEN %(first)s::timestamptz"
                f" ELSE %(second)s END WHERE {column} > '-infinity'".encode(),
                values,
            )
        connection.execute("UPDATE backfill.history_begins SET began_at = '2026-05-01'")


def test_every_snippet_works(filled: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    kinds = []
    document = DOCUMENT.read_text("utf-8")
    for kind, text in SNIPPET.findall(document):
        kinds.append(kind)
        if kind == "python":
            exec(compile(text, DOCUMENT.name, "exec"), names)  # noqa: S102 - our own document
        else:
            assert kind == "sh", f"{kind} snippets are not executed"
            run_commands(text)
    assert document.count("```") == 2 * len(kinds) > 30
    assert_what_the_document_says(names)


def run_commands(text: str) -> None:
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["pip", "install"]:
            assert_can_be_installed(words[2])
            continue
        assert words[0] == "backfill-assets"
        result = CliRunner().invoke(cli, words[1:], catch_exceptions=False, standalone_mode=False)
        assert not result.return_value, f"{line}: {result.output}"


def assert_can_be_installed(requirement: str) -> None:
    """The names are those of the package; that its wheel can be installed is another test's matter."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    name, extra = re.fullmatch(r"(\w+)\[(\w+)\]", requirement).groups()  # type: ignore[union-attr]
    assert name == project["name"]
    assert extra in project["optional-dependencies"]


def assert_what_the_document_says(names: dict[str, Any]) -> None:
    raw, adjusted = names["raw"], names["adjusted"]
    assert adjusted["close"][:13].tolist() == pytest.approx((raw["close"][:13] / 4).tolist())
    assert adjusted["close"][13:].tolist() == raw["close"][13:].tolist()
    closes = names["bars"][names["bars"]["session"] == "2026-06-01"].groupby("symbol", observed=True)["close"].last()
    daily = names["daily"].set_index("symbol")["close"]
    assert daily.to_dict() == pytest.approx(closes.to_dict(), rel=0.001)  # as traded, before the split
    volumes = names["volume_by_symbol"](dg.build_asset_context(partition_key="2026-06-01"), bars=BarsResource())
    assert set(volumes) == {"AAPL.US", "MSFT.US"}
    assert set(names["revised"]["symbol"]) == {"AAPL.US", "MSFT.US"}
    assert names["lacking"].symbol == "TSLA.US"
    assert len(names["closes"]) == 3
    both = names["both"]
    assert both.groupby("symbol", observed=True)["unit"].first().to_dict() == {
        **{"AAPL.US": "USD", "MSFT.US": "USD", "VOD.LSE": "GBX", "BP.LSE": "GBX"}
    }
    context = dg.build_asset_context(partition_key="2026-06-01")
    assert names["bars_of_london"](context, london_bars=BarsResource(exchange="LSE")) == 34
