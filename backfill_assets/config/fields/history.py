"""The setting of the history before the sessions that are healed."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_session_start


class HistoryFields(SettingsGroup):
    """From which day on the store is to be complete."""

    heading: ClassVar[str] = "History"

    history_from: Annotated[date, AfterValidator(validate_session_start)] | None = Field(
        None,
        alias="BACKFILL_HISTORY_FROM",
        examples=["2020-10-12"],
        description="The store becomes complete from this day on by itself, with calls that are left over; of an"
        " exchange whose data begin later, from then on. Unset: sessions older than those that are healed are left"
        " alone, except of symbols with a day of their own (symbols add --history-from).",
    )
