"""What ``demo`` and ``dev`` say and refuse when the bundled sandbox stands in for the vendor."""

from rich.console import Console

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError

SANDBOX_SYMBOLS = 30  # of the sandbox


def reject_user_database(settings: Settings) -> None:
    """Made-up bars do not go there.

    Raises:
        UsageError: DATABASE_URL is set.
    """
    if settings.database_url is not None:
        raise UsageError(
            "DATABASE_URL is set but EODHD_API_TOKEN is not: the sandbox's made-up bars do not go into a database of "
            "yours; set the token, or unset DATABASE_URL"
        )


def warn_sandbox_data(console: Console) -> None:
    """Say plainly whose bars these are."""
    warning = "EODHD_API_TOKEN is not set: this is the bundled sandbox, and its bars are made up."
    console.print(f"[bold yellow]{warning}[/bold yellow]")
