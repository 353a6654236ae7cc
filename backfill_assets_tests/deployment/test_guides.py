"""The READMEs of ``deploy/``: what they name exists."""

import re
from pathlib import Path

import pytest

from backfill_assets_tests.deployment.deploy_files import DEPLOY, ROOT, SETTINGS, is_setting, read_version

GUIDES = sorted(DEPLOY.rglob("README.md"))
NAMED = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:yaml|conf|env|example|md|service|sql|json)|Caddyfile|Containerfile)`")
_MADE_BY_READERS = {".env", "settings.env", "celery.env"}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_named_files_exist(guide: Path) -> None:
    text = guide.read_text("utf-8")
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target}
    for name in linked | set(NAMED.findall(text)) - _MADE_BY_READERS:
        places = [guide.parent / name, ROOT / name, *guide.parent.rglob(Path(name).name)]
        assert any(place.exists() for place in places), f"{guide.parent.name}/README.md names {name}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_named_settings_exist(guide: Path) -> None:
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", guide.read_text("utf-8")))
    assert {name for name in named if is_setting(name)} - {"BACKFILL_IMAGE", "BACKFILL_NAMESPACE"} <= SETTINGS


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_named_images_are_of_this_version(guide: Path) -> None:
    assert set(re.findall(r"backfill_assets:(\d[\d.]*)", guide.read_text("utf-8"))) <= {read_version()}


def test_each_way_has_a_guide() -> None:
    assert {guide.parent.name for guide in GUIDES} >= {"deploy", "compose", "hosts", "kubernetes"}
