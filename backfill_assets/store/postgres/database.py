"""Opens the database of the bars: on the user's own server, else on the embedded one."""

from backfill_assets.config.settings import Settings
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.store.postgres.bar_partitions import ensure_partitions
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.exchange_profiles import record_exchanges
from backfill_assets.store.postgres.migrate import PendingSchema, find_pending, migrate
from backfill_assets.store.postgres.schema_check import require_complete_schema, require_own_schema
from backfill_assets.store.postgres.takeover_check import require_contract

VENDOR_DATABASE = "bars"
SANDBOX_DATABASE = "bars_sandbox"


def open_database(settings: Settings) -> Database:
    """Connect to the database of the bars, migrate it to this version's schema, and make it know the exchanges.

    Raises:
        DatabaseUnavailable: no server or too old a one, a missing right, contract tables that cannot be used, objects
            of another program in schema ``backfill``, a schema that is too new or too old for this version, or a
            migration that waits to be allowed.
    """
    database = connect_database(settings)
    try:
        prepare_schema(database)
        ensure_partitions(database, settings.now())
        if set(settings.exchanges) != {DEFAULT_EXCHANGE}:  # the US needs no statement, nor its files of corrections yet
            record_exchanges(database, settings.markets)
    except BaseException:
        database.close()
        raise
    return database


def connect_database(settings: Settings) -> Database:
    """Connect to the database of the bars, whatever its schema is.

    The embedded server has two databases, one for the vendor's bars and one for those of any other host such as the
    sandbox. The host of the base URL decides, so that simulated bars never mix with real ones.

    Raises:
        DatabaseUnavailable: no server, or too old a one.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
    else:
        # Its libraries are slow to load, and only the embedded server needs them.
        from backfill_assets.store.postgres.embedded import start_embedded_database

        url = start_embedded_database(settings.home, VENDOR_DATABASE if settings.is_vendor else SANDBOX_DATABASE)
    return Database(url, max_wait_seconds=settings.database_patience_seconds)


def prepare_schema(database: Database, *, allow_breaking: bool = False) -> list[str]:
    """Make sure that the database can be used, and bring it to this version's schema; returns the files applied.

    Raises:
        DatabaseUnavailable: as ``open_database``.
    """
    require_own_schema(database)
    require_contract(database)
    applied = migrate(database, allow_breaking=allow_breaking)
    require_complete_schema(database)
    return applied


def find_pending_schema(database: Database) -> PendingSchema:
    """What ``prepare_schema`` would apply; changes nothing.

    Raises:
        DatabaseUnavailable: as ``open_database``, but not for migrations that wait.
    """
    require_own_schema(database)
    require_contract(database)
    return find_pending(database)
