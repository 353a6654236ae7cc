"""docs/markets.md: its tables agree with the profiles, and its file of corrections can be used."""

import re
from datetime import date, time
from pathlib import Path

import pytest

from backfill_assets.config.market_fields import CORRECTIONS
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.refused import REFUSED
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets_tests.unit.document_passages import ROOT
from backfill_assets_tests.unit.test_market_calendars_of_exchanges import FACTS

PAGE = (ROOT / "docs" / "markets.md").read_text("utf-8")
ROWS = {
    row.split("`")[1]: [cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*", PAGE, re.M)
}
EXAMPLE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("exchange", PROFILES)
def test_an_exchange_has_a_line_that_agrees_with_its_profile(exchange: str) -> None:
    market = PROFILES[exchange]
    _, name, calendar, zone, hours, slots, _, unit, closing, seen = ROWS[exchange]
    expected = (market.name, market.calendar, market.zone.key, market.price_unit or "-")
    assert (name, calendar, zone, unit) == expected
    assert int(closing) * 60 == market.closing_seconds
    assert seen == ("no" if "source_interval" in market.assumed else "yes" if market.is_experimental else "proven")
    opens, closes, count, *_ = FACTS[exchange]
    assert [part.rjust(5, "0") for part in hours.replace("24:00", "00:00").split(" to ")] == [opens, closes]
    assert int(slots.split(",")[0]) == count


def test_every_refused_code_is_listed() -> None:
    section = PAGE.partition("## Codes that are refused")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z]+)`", section)) - {"XETRA", "LSE", "TO", "V"} == set(REFUSED)


def test_every_field_is_listed() -> None:
    assert [field for field in CORRECTIONS if f"`{field}`" not in PAGE] == []


def test_the_example_is_a_file_that_can_be_used(tmp_path: Path) -> None:
    (text,) = EXAMPLE
    file = tmp_path / "markets.toml"
    file.write_text(text, "utf-8")
    settings = load_settings(markets_file=file)
    assert settings.get_market("LSE").closing_seconds == 900
    assert settings.get_market("AU").overrides.late_opens == {date(2026, 3, 2): time(11, 30)}
    (session,) = list_sessions(settings.get_market("LSE"), date(2026, 12, 24), date(2026, 12, 24))
    assert session.is_early_close
    assert settings.get_market("KO").overrides.extra_sessions == {date(2026, 11, 19): (time(10), time(16, 30))}
