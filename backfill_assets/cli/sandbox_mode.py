"""What ``demo`` and ``dev`` share when they use the bundled sandbox instead of the vendor."""

from rich.console import Console

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError

SANDBOX_SYMBOLS = 30


def reject_user_database(settings: Settings) -> None:
    """Keep simulated bars out of a database that the user has chosen.

    Raises:
        UsageError: DATABASE_URL is set.
    """
    if settings.database_url is not None:
        raise UsageError(
            "DATABASE_URL is set but EODHD_API_TOKEN is not: simulated bars are not written into your database; "
            "set EODHD_API_TOKEN, or unset DATABASE_URL"
        )


def warn_sandbox_data(console: Console) -> None:
    """Print that the bars are simulated."""
    warning = "EODHD_API_TOKEN is not set: using the bundled sandbox. Its bars are simulated."
    console.print(f"[bold yellow]{warning}[/bold yellow]")
