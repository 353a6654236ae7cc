"""The commands about universes and certificates, as a person uses them."""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]


def test_universes_are_made_shown_changed_and_removed(make_user: MakeUser, tmp_path: Path) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL MSFT IBM")
    file = tmp_path / "model.csv"
    file.write_text("Symbol,Name\nAAPL,Apple Inc\nMSFT,Microsoft\n")
    made = user.run_cli(f"universes add model --file {file} --max-incomplete 2 --deadline 16h")
    assert made.out == (
        "model: created with 2 symbols; certificates may lack 2 symbols once a session is overdue; any number from 16 h"
        " after the close\n"
    )
    unknown = user.run_cli("universes add model IBM NEW1 NEW2")
    assert unknown.code == 2
    assert "not in the store: NEW1.US, NEW2.US; add them first: backfill-assets symbols add NEW1.US" in unknown.err
    assert user.run_cli("universes add model IBM AAPL").out == "model: 1 symbol added, 1 belonged to it already\n"
    assert user.run_cli("universes remove model AAPL").out == "model: 1 symbol removed, 0 did not belong to it\n"
    assert user.run_cli("universes show model").out == "IBM.US\nMSFT.US\n"
    assert (
        user.run_cli("universes set model --max-incomplete 0 --deadline none").out
        == "model: certificates lack nothing\n"
    )
    listed = json.loads(user.run_cli("universes list --format json").out)
    assert [(one["name"], one["symbols"], one["deadline_hours"]) for one in listed] == [
        ("all", 3, None),
        ("model", 2, None),
    ]
    assert json.loads(user.run_cli("universes show model --format json").out)["symbols"] == ["IBM.US", "MSFT.US"]
    user.run_cli("symbols deactivate IBM")
    assert "model: 2 symbols (1 inactive); certificates lack nothing\n" in user.run_cli("universes list").out
    assert user.run_cli("universes remove model").out == "model: removed; its certificates stay\n"
    for command, message in (
        ("universes show model", "there is no universe 'model' of exchange US, only all"),
        ("universes remove all", "cannot be removed"),
        ("universes add all AAPL", "has every active symbol"),
        ("universes add Model AAPL", "is no name of a universe"),
        ("universes set all", "nothing to set"),
        ("universes set all --deadline soon", "Invalid value for '--deadline': 'soon' is not a duration"),
        ("universes set all --max-incomplete 3000000000", "is not in the range 0<=x<=1000000"),
    ):
        answer = user.run_cli(command)
        assert (answer.code, message in answer.err) == (2, True), (command, answer.err)


def test_sessions_are_certified_verified_and_audited(
    make_user: MakeUser, start_sandbox: StartSandbox, database_url: str
) -> None:
    user = make_user(start_sandbox(), BACKFILL_PARTITION_DAYS="3")
    user.run_cli("symbols add AAPL MSFT")
    missing = user.run_cli("certify 2026-06-02")
    assert missing.code == 3
    assert "AAPL.US: 13 missing; see: backfill-assets why AAPL 2026-06-02" in missing.out
    ran = user.run_cli("run --quiet")
    assert "2 certificates written: all 2026-06-01, all 2026-06-02" in ran.out
    standing = json.loads(user.run_cli("certify 2026-06-02 --format json").out)
    assert (standing["certifiable"], standing["new"], standing["certificate"]["kind"]) == (True, False, "complete")
    assert user.run_cli("verify-certificate").out == "2 certificates hold, 0 do not\n"
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # as one who knows of the triggers
        connection.execute(
            "UPDATE market_data SET close_price = close_price + 0.0001 WHERE timestamp = '2026-06-02 14:00Z'"
        )
    broken = user.run_cli("verify-certificate --session 2026-06-02")
    assert broken.code == 3
    assert "2 bars differ" in broken.out
    assert "AAPL.US 2026-06-02T14:00:00Z changed by something else than this program: ? → " in broken.out
    _, _, remedy = broken.out.partition("for the vendor's values: backfill-assets ")
    assert remedy.startswith(
        "run --force --verify-existing --start 2026-06-02 --end 2026-06-02 --symbols AAPL.US,MSFT.US\n"
    )
    audit = json.loads(user.run_cli("audit --format json").out)["certificates"]
    assert (audit["verified"], [c["session_day"] for c in audit["broken"]]) == (2, ["2026-06-02"])
    assert [change["symbol"] for change in audit["broken"][0]["differing"]] == ["AAPL.US", "MSFT.US"]
    refused = user.run_cli("certify 2026-06-02")
    assert refused.code == 3
    assert "with --accept-changes the session is certified as it is" in refused.out
    accepted = user.run_cli("certify 2026-06-02 --accept-changes")
    assert (accepted.code, "certificate 3 written: all 2026-06-02 complete" in accepted.out) == (0, True)
    with psycopg.connect(database_url) as connection:  # in three ways
        connection.execute("DELETE FROM market_data WHERE timestamp = '2026-06-01 14:00Z'")
        connection.execute("UPDATE market_data SET volume = volume + 1 WHERE timestamp = '2026-06-01 15:00Z'")
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE market_data SET volume = volume + 1 WHERE timestamp = '2026-06-01 16:00Z'")
    verified = user.run_cli("verify-certificate 1").out
    assert " gone by something else than this program: " in verified
    assert not any(" gone " in line and "→" in line for line in verified.splitlines())
    remedy = verified.partition("for the vendor's values: backfill-assets ")[2]
    assert user.run_cli(f"{remedy.splitlines()[0]} --quiet").code == 0
    assert user.run_cli("verify-certificate 1").code == 0
    listed = json.loads(user.run_cli("certificates list --format json").out)
    assert [(one["certificate_id"], one["previous_id"]) for one in listed] == [(3, 2), (1, None)]
    assert "2026-06-02" in user.run_cli("certificates list --limit 1").out
    assert "no certificates of these sessions" in user.run_cli("certificates list --start 2026-06-03").out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("certify 2026-06-06", "2026-06-06 is no session of exchange US"),
        ("certify 2026-06-02 --universe modl", "there is no universe 'modl'"),
        ("certify 2026-06-02", "no symbol of universe all was active and listed on 2026-06-02"),
        ("verify-certificate 7", "there is no certificate 7"),
        ("verify-certificate seven", "is no id of a certificate"),
        ("verify-certificate 99999999999999999999", "is no id of a certificate"),
        ("verify-certificate --universe modl", "there is no certificate of modl (30m)"),
        ("verify-certificate --session 2026-06-02", "there is no certificate of 2026-06-02 (30m)"),
        ("certificates list --universe modl", "there is no universe 'modl'"),
        ("verify-certificate 7 --session 2026-06-02", "give either an id, or --session"),
    ],
)
def test_what_cannot_be_certified_or_verified_is_said(make_user: MakeUser, command: str, message: str) -> None:
    answer = make_user().run_cli(command)
    assert (answer.code, message in answer.err) == (2, True), answer.err
