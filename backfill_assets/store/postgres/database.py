"""Which database holds the bars: the user's own server, else the embedded one."""

from backfill_assets.config.settings import Settings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.schema_contract import require_contract

VENDOR_DATABASE = "bars"
SANDBOX_DATABASE = "bars_sandbox"


def open_database(settings: Settings) -> Database:
    """Connect to the database of the bars and bring it to this version's schema.

    In the embedded server the vendor's bars and a stand-in's are two databases, chosen by the host of
    the base URL, so that made-up bars can never be taken for real ones.

    Raises:
        DatabaseUnavailable: no server, no right, tables that are not ours to work with, or a newer
            schema than this version knows.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
    else:
        from backfill_assets.store.postgres.embedded import (
            start_embedded_database,  # brings what only a server of our own needs
        )

        url = start_embedded_database(settings.home, VENDOR_DATABASE if settings.is_vendor else SANDBOX_DATABASE)
    database = Database(url, max_wait_seconds=settings.database_patience_seconds)
    try:
        require_contract(database)
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database
