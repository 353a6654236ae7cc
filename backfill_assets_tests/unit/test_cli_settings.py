"""docs/configuration.md is what the settings say."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from backfill_assets.cli.settings import build_configuration_page
from backfill_assets.config.settings import SECRET_VARIABLES, Settings, build_child_environment, load_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text("utf-8") == build_configuration_page(), "run: make docs"


def test_every_setting_is_described_and_every_secret_named() -> None:
    fields = Settings.model_fields.values()
    assert not [field.alias for field in fields if not field.description]
    secrets = {str(field.alias) for field in fields if "SecretStr" in str(field.annotation)}
    assert secrets <= SECRET_VARIABLES


def test_settings_reach_a_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = (SecretStr("json://127.0.0.1/hush"), SecretStr("mailto://a?to=b,c"))
    given = load_settings(alert_urls=urls, token=SecretStr("t"), backoff_seconds=(1, 2), minute_share=0.5)
    for name, value in build_child_environment(given).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given
