"""``metrics`` on the command line: printed once, or exit code 5 when the database is away."""

from collections.abc import Callable

from backfill_assets_tests.acceptance.conftest import User


def test_metrics_are_printed_or_the_exit_code_says_that_the_database_is_away(make_user: Callable[..., User]) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    shown = user.run_cli("metrics")
    assert shown.code == 0
    assert 'backfill_symbols{exchange="US",state="active"} 1.0' in shown.out.splitlines()
    away = user.run_cli("metrics", DATABASE_URL="postgresql://127.0.0.1:9/x", BACKFILL_DATABASE_PATIENCE_SECONDS="0")
    assert away.code == 5
    assert "127.0.0.1:9" in away.error
    assert user.run_cli("metrics --port 1").error == "--host and --port need --serve"
