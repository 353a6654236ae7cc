"""Claims of a run that was cut off: it keeps those that nobody took, also while others are claiming."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.runs import claim_symbols, finish_run, record_heartbeat, renew_claims, start_run
from backfill_assets_tests.waiting import wait_until

INTERVAL = INTERVALS["30m"]


def start(database: Database, symbol_ids: Sequence[int]) -> UUID:
    """Start a run that claims symbols."""
    run_id = uuid4()
    with database.transaction() as connection:
        start_run(connection, run_id, "a run", len(symbol_ids))
        assert claim(connection, run_id, symbol_ids) == set(symbol_ids)
    return run_id


def claim(connection: Connection, run_id: UUID, symbol_ids: Sequence[int]) -> set[int]:
    return set(claim_symbols(connection, run_id, symbol_ids, INTERVAL, planned_at=datetime.now(UTC)).symbol_ids)


def claim_for_another(database: Database, symbol_ids: Sequence[int]) -> set[int]:
    with database.transaction() as connection:
        start_run(connection, run_id := uuid4(), "another run", 1)
        return claim(connection, run_id, symbol_ids)


def let_lapse(database: Database, run_id: UUID) -> None:
    """Make the run's last heartbeat 31 seconds old."""
    with database.transaction() as connection:
        statement = "UPDATE backfill.runs SET heartbeat_at = heartbeat_at - interval '31 s' WHERE run_id = %s"
        connection.execute(statement, [run_id])


def renew(database: Database, run_id: UUID) -> set[int]:
    with database.transaction() as connection:
        return set(renew_claims(connection, run_id, INTERVAL).symbol_ids)


def test_a_late_heartbeat_does_not_bring_lapsed_claims_back(database: Database) -> None:
    run_id = start(database, [1])
    with database.transaction() as connection:
        assert record_heartbeat(connection, run_id) is not None
    let_lapse(database, run_id)
    with database.transaction() as connection:
        assert record_heartbeat(connection, run_id) is None
    assert claim_for_another(database, [1]) == {1}


def test_renewed_claims_are_those_that_nobody_took(database: Database) -> None:
    run_id = start(database, [1, 2, 3])
    let_lapse(database, run_id)
    assert claim_for_another(database, [2]) == {2}
    assert renew(database, run_id) == {1, 3}
    assert claim_for_another(database, [1, 3]) == set()


def test_a_claim_that_another_run_has_released_is_not_taken_back(database: Database) -> None:
    """That run may have paid for the symbol."""
    run_id = start(database, [1])
    let_lapse(database, run_id)
    other = start(database, [1])
    with database.transaction() as connection:
        finish_run(connection, other, "finished")
    assert renew(database, run_id) == set()


def test_a_run_that_was_closed_as_lost_is_open_again(database: Database) -> None:
    run_id = start(database, [1])
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = 'killed'")
        assert record_heartbeat(connection, run_id) is None
    assert renew(database, run_id) == {1}
    assert claim_for_another(database, [1]) == set()


def test_a_run_that_has_ended_stays_so(database: Database) -> None:
    run_id = start(database, [1])
    with database.transaction() as connection:
        finish_run(connection, run_id, "interrupted")
    assert renew(database, run_id) == set()
    with database.transaction() as connection:
        assert record_heartbeat(connection, run_id) is None
        assert connection.execute("SELECT outcome FROM backfill.runs").fetchall() == [("interrupted",)]


def test_a_run_that_renews_while_another_claims_waits_and_leaves_the_symbol(database: Database) -> None:
    run_id, other = start(database, [1, 2]), start(database, [3])
    let_lapse(database, run_id)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as connection:
            assert claim(connection, other, [1, 3]) == {1, 3}
            renewed = threads.submit(renew, database, run_id)
            wait_until(lambda: count_waiting(database) == 1, "the renewal to wait")
        assert renewed.result() == {2}


def test_a_run_that_began_to_claim_before_another_renewed_leaves_the_symbol(database: Database) -> None:
    """Its statement sees the heartbeat as it was when it began."""
    run_id, other = start(database, [2]), start(database, [1])
    let_lapse(database, run_id)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as connection:
            connection.execute("SELECT FROM backfill.claims WHERE symbol_id = 1 FOR UPDATE")
            claimed = threads.submit(claim_for, database, other, [1, 2])
            wait_until(lambda: count_waiting(database) == 1, "the claim to wait")
            assert renew(database, run_id) == {2}
        assert claimed.result() == {1}


def test_a_run_that_claims_does_not_wait_for_one_that_is_just_renewing(database: Database) -> None:
    run_id, other = start(database, [1]), start(database, [2])
    let_lapse(database, run_id)
    with database.transaction() as connection:
        connection.execute("SELECT FROM backfill.runs WHERE run_id = %s FOR UPDATE", [run_id])
        assert claim_for(database, other, [1, 2]) == {2}


def claim_for(database: Database, run_id: UUID, symbol_ids: Sequence[int]) -> set[int]:
    with database.transaction() as connection:
        return claim(connection, run_id, symbol_ids)


def count_waiting(database: Database) -> int:
    with database.transaction() as connection:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return int(connection.execute(statement).fetchall()[0][0])
