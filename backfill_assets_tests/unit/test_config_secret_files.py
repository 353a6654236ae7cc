"""Secrets that a container engine mounts as files."""

import os
from pathlib import Path

import pytest

from backfill_assets.config.settings import SECRETS_FROM_FILES, Settings, build_child_environment, load_settings
from backfill_assets.errors import UsageError

URLS = ("json://127.0.0.1/one", "mailto://a?to=b,c")


def read_alert_urls() -> tuple[str, ...]:
    return tuple(url.get_secret_value() for url in load_settings().alert_urls)


def test_every_secret_may_be_a_file() -> None:
    fields = {str(field.alias): field for field in Settings.model_fields.values()}
    secrets = {name for name, field in fields.items() if "Secret" in str(field.annotation)}
    assert secrets == set(SECRETS_FROM_FILES)
    for name in secrets:
        assert "use one of the two" in str(fields[f"{name}_FILE"].description)


@pytest.mark.parametrize("text", ["{}\n{}\n", "{} {}", "\r\n{}\r\n\r\n{}\r\n", '["{}",\n "{}"]\n'])
def test_addresses_stand_one_a_line_or_as_in_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "urls"
    file.write_text(text.format(*URLS), newline="")
    monkeypatch.setenv("BACKFILL_ALERT_URLS_FILE", str(file))
    assert read_alert_urls() == URLS


def test_addresses_of_a_file_reach_a_child_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("\n".join(URLS))
    monkeypatch.setenv("BACKFILL_ALERT_URLS_FILE", str(tmp_path / "urls"))
    settings = load_settings()
    for name, value in build_child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    monkeypatch.setenv("BACKFILL_ALERT_URLS", "json://127.0.0.1/hush")
    with pytest.raises(UsageError, match=r"^BACKFILL_ALERT_URLS and BACKFILL_ALERT_URLS_FILE are both set and differ"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty; write the secret into it"),
        (b"\n \n", "is empty; write the secret into it"),
        (b"hush\nhush2", "must contain the secret as its only line"),
        (b"hush\x00", "must contain the secret as its only line"),
        (b"\xff\xfehush", "cannot be read: not a text file"),
    ],
)
def test_what_a_file_with_a_secret_may_not_contain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    monkeypatch.setenv("EODHD_API_TOKEN_FILE", str(file))
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert str(caught.value) == f"EODHD_API_TOKEN_FILE {file} {reason}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_file_of_another_user_is_named_with_the_user_who_cannot_read_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hush")
    file.chmod(0o400)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o711)
    os.environ["EODHD_API_TOKEN_FILE"] = str(file)
    os.seteuid(10001)
    try:
        with pytest.raises(UsageError, match="cannot be read: Permission denied for user 10001, who runs this"):
            load_settings()
    finally:
        os.seteuid(0)
        del os.environ["EODHD_API_TOKEN_FILE"]
