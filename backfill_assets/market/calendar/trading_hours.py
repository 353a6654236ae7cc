"""The time zone and regular trading hours of the default exchange.

Times of a given session, early closes included, are in ``sessions``. The profile of a further exchange belongs here.
"""

from datetime import timedelta
from zoneinfo import ZoneInfo

TIME_ZONE = ZoneInfo("America/New_York")
REGULAR_OPEN, REGULAR_CLOSE = timedelta(hours=9, minutes=30), timedelta(hours=16)  # since midnight in TIME_ZONE
