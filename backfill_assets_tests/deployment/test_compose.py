"""Compose: its files say the same, and name nothing that does not exist. Containers are in ``test_containers``."""

import re
import stat
from typing import Any

import pytest

from backfill_assets.config.settings import SECRET_VARIABLES, SECRETS_FROM_FILES, load_settings
from backfill_assets_tests.deployment.deploy_files import (
    DEPLOY,
    ROOT,
    SETTINGS,
    is_setting,
    read_variables,
    read_version,
    read_yaml,
)

FOLDER = DEPLOY / "compose"
VARIABLES = read_variables(FOLDER / ".env.example")
ALERT_FILES = {"BACKFILL_ALERT_URLS_FILE", "BACKFILL_ALERT_OWNERS_FILE", "BACKFILL_HEARTBEAT_URL_FILE"}
OF_COMPOSE = {"COMPOSE_PROFILES", "BACKFILL_IMAGE"}  # the others have a name of no setting's form
_COMPOSE = read_yaml(FOLDER / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
LAUNCHER = read_yaml(FOLDER / "dagster.yaml")["run_launcher"]["config"]


def list_processes() -> dict[str, dict[str, Any]]:
    """The services of our image."""
    return {name: service for name, service in SERVICES.items() if "BACKFILL_IMAGE" in service["image"]}


def test_every_variable_of_the_example_is_used() -> None:
    used = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text("utf-8")))
    assert VARIABLES.keys() - used == {"COMPOSE_PROFILES"}
    assert {name for name in used - VARIABLES.keys() if name not in SETTINGS} == set()


def test_every_setting_can_be_given() -> None:
    """In .env, for all processes and runs, but for secrets, which are files, and what the image says."""
    secret = {*SECRETS_FROM_FILES, *(f"{name}_FILE" for name in SECRETS_FROM_FILES)} - {"DATABASE_URL_FILE"}
    assert _COMPOSE["x-settings"].keys() == SETTINGS - secret - {"BACKFILL_HOME", "BACKFILL_AS_OF"}
    assert all(
        value in {f"${{{name}:-}}", "/run/secrets/database_url"} for name, value in _COMPOSE["x-settings"].items()
    )


def test_settings_exist() -> None:
    named = {*VARIABLES, *(name for service in SERVICES.values() for name in service.get("environment", {}))}
    assert {name for name in named if is_setting(name)} - OF_COMPOSE <= SETTINGS


def test_defaults_of_the_example_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also their form: what is in a comment can be uncommented."""
    for name, value in VARIABLES.items():
        if is_setting(name) and name not in {*OF_COMPOSE, "EODHD_BASE_URL", *ALERT_FILES}:
            monkeypatch.setenv(name, value)
    values = load_settings()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert values.model_dump() == load_settings().model_dump()


def test_unset_variables_are_unset_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes an empty text for them."""
    for name in _COMPOSE["x-settings"]:
        monkeypatch.setenv(name, "")
    values = load_settings()
    for name in _COMPOSE["x-settings"]:
        monkeypatch.delenv(name)
    assert values.model_dump() == load_settings().model_dump()


def test_runs_have_the_settings_of_the_code_server() -> None:
    named = [variable.partition("=")[0] for variable in LAUNCHER["env_vars"]]
    # a sensor sends alerts, which the code server evaluates
    assert set(named) == _COMPOSE["x-vendor-settings"].keys() - {"<<"} - ALERT_FILES | _COMPOSE["x-settings"].keys()
    assert SERVICES["daemon"]["environment"].keys() >= {v for v in LAUNCHER["env_vars"] if "=" not in v}
    for variable in ("EODHD_API_TOKEN_FILE",):
        assert f"{variable}={SERVICES['code']['environment'][variable]}" in LAUNCHER["env_vars"]


def test_runs_start_where_the_code_server_is() -> None:
    assert LAUNCHER["container_kwargs"]["volumes_from"] == [f"{SERVICES['code']['container_name']}:ro"]
    assert LAUNCHER["network"] == _COMPOSE["networks"]["backfill"]["name"]
    assert SERVICES["code"]["environment"]["DAGSTER_CURRENT_IMAGE"] == SERVICES["code"]["image"]


def test_no_secret_is_in_the_environment() -> None:
    """Secrets are files, and the vendor's token is only where the vendor is asked."""
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        assert not environment.keys() & (SECRET_VARIABLES - {"EODHD_BASE_URL", "BACKFILL_CODE_URL"}), name
        assert ("eodhd_api_token" in service.get("secrets", ())) == ("EODHD_API_TOKEN_FILE" in environment)
    holders = {name for name, service in SERVICES.items() if "eodhd_api_token" in service.get("secrets", ())}
    assert holders == {"migrate", "code", "demo-symbols"}


def test_files_of_alerts_are_secrets_where_they_are_named() -> None:
    for service in SERVICES.values():
        for name in ALERT_FILES & service.get("environment", {}).keys():
            assert VARIABLES[name].removeprefix("/run/secrets/") in service["secrets"]


def test_example_secrets_are_there_and_can_be_read_by_the_image() -> None:
    for name, secret in _COMPOSE["secrets"].items():
        path = FOLDER / "demo-secrets" / name
        assert secret["file"] == f"${{SECRETS:-{VARIABLES['SECRETS']}}}/{name}"
        assert path.stat().st_mode & stat.S_IROTH


@pytest.mark.parametrize("name", list_processes())
def test_processes_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_runs_are_confined() -> None:
    kwargs = LAUNCHER["container_kwargs"]
    assert kwargs["read_only"]
    assert kwargs["cap_drop"] == ["ALL"]
    assert kwargs["security_opt"] == ["no-new-privileges:true"]


def test_nothing_but_the_login_listens_beyond_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert {name for name, listed in ports.items() if not all(p.startswith("127.0.0.1:") for p in listed)} == {"login"}
    assert SERVICES["login"]["profiles"] == ["login"]


def test_the_socket_is_the_daemons_alone() -> None:
    assert {name for name, s in SERVICES.items() if "SOCKET" in str(s.get("volumes"))} == {"daemon"}


def test_versions_are_those_of_this_checkout() -> None:
    expected = f"localhost/backfill_assets:{read_version()}"
    assert VARIABLES["BACKFILL_IMAGE"] == expected
    assert {service["image"] for service in list_processes().values()} == {f"${{BACKFILL_IMAGE:-{expected}}}"}


def test_the_image_is_built_from_what_it_copies() -> None:
    """What .dockerignore lets through exists, and is what the Containerfile names."""
    ignored = (ROOT / ".dockerignore").read_text("utf-8")
    allowed = set(re.findall(r"^!(\S+)$", ignored, re.MULTILINE))
    copied = re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Containerfile").read_text("utf-8"), re.MULTILINE)
    sources = {word for line in copied for word in line.split()[:-1] if not word.startswith("--")}
    assert sources == allowed
    assert all((ROOT / name).exists() for name in allowed)
