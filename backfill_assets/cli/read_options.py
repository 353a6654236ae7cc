"""What ``bars`` and ``export`` share: the options of a read, which keep the reader's names and meanings."""

from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import click

from backfill_assets.cli.options import DateType, F, InstantType

T = TypeVar("T")
ADJUSTMENTS = ("none", "splits", "splits_and_dividends")
REQUIREMENTS = ("complete", "explained", "any")


class MomentType(click.ParamType[datetime | date]):
    """A session date, or a time with a time zone."""

    name = "date or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | date:
        """Parse ISO 8601; a text without a time of day is a date, in whatever form of ISO 8601."""
        if isinstance(value, date):  # a datetime is one, too
            return value
        is_time = any(mark in value for mark in "T: ")
        return (InstantType() if is_time else DateType()).convert(value, param, ctx)


def get_read_end(end: datetime | date) -> datetime | date:
    """The end of a read: a date is included on the command line, and excluded in Python."""
    return end if isinstance(end, datetime) or end == date.max else end + timedelta(days=1)


def add_read_options(command: F) -> F:
    """The options that say what counts as complete and what prices are adjusted for."""
    for option in (
        click.option(
            "--unverified",
            is_flag=True,
            help="Bars that another program wrote are complete, too.",
        ),
        click.option(
            "--on-incomplete",
            type=click.Choice(("raise", "drop")),
            default="raise",
            show_default=True,
            help="Of incomplete symbols: an error, or leave them out and name them.",
        ),
        click.option(
            "--require",
            type=click.Choice(REQUIREMENTS),
            default=REQUIREMENTS[0],
            show_default=True,
            help="Every slot has a bar or nothing traded; or its absence or doubt is explained; or whatever there is.",
        ),
        click.option(
            "--adjustment", type=click.Choice(ADJUSTMENTS), default=ADJUSTMENTS[0], show_default=True, help="Of prices."
        ),
    ):
        command = option(command)
    return command
