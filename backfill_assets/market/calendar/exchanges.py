"""The supported exchanges: their library calendars, and the time zone and regular hours of the default one.

Times of a given session, early closes included, are in ``sessions``. The profile of a further exchange belongs here.
"""

from datetime import timedelta
from zoneinfo import ZoneInfo

DEFAULT_EXCHANGE = "US"  # the vendor's code; a ticker without a suffix is of this exchange
CALENDARS = {DEFAULT_EXCHANGE: "XNYS"}  # vendor's code -> calendar of exchange_calendars
TIME_ZONE = ZoneInfo("America/New_York")
REGULAR_OPEN, REGULAR_CLOSE = timedelta(hours=9, minutes=30), timedelta(hours=16)  # since midnight in TIME_ZONE
