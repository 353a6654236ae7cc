"""Doubts about the volumes of single rows: how they are written down and read again.

Which rows are doubted is decided by the rules. The doubts of one slot are merged in ``row_rules``.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time

from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

SEPARATOR = ", "  # between the figures of several rows
DAY_VOLUME = "day_volume"  # the figure of rows whose volume the day disproves; others have none
_NO_FIGURE = "–"
_ZONE = " UTC"
_SECONDS_OF_DAY = 86_400


def make_row_doubt(
    panel: SessionPanel,
    rule: Rule,
    line: int,
    column: int,
    figures: Mapping[str, float | None],
    *,
    is_withheld: bool,
) -> Doubt:
    """Make the doubt about one row's volume; ``figures`` are what it was compared with."""
    stamp, volume = panel.get_stamp(line, column), float(panel.volume[line, column])
    return Doubt(
        rule=rule,
        symbol_id=int(panel.symbol_id[line]),
        session=int(panel.session[line]),
        first_stamp=stamp,
        last_stamp=stamp,
        figures={
            "row": f"{datetime.fromtimestamp(stamp, UTC):%H:%M}{_ZONE}",
            "volume": _to_whole(volume),
            **{name: None if value is None else _to_whole(value) for name, value in figures.items()},
        },
        withheld_volume=volume if is_withheld else 0.0,
    )


def list_doubted_volumes(first_stamp: int, figures: Mapping[str, float | str | None]) -> list[tuple[int, float]]:
    """The stamp (epoch seconds) and the volume of each row of a doubt about the volumes of rows, oldest first."""
    midnight = first_stamp // _SECONDS_OF_DAY * _SECONDS_OF_DAY
    times = [time.fromisoformat(text.removesuffix(_ZONE)) for text in str(figures["row"]).split(SEPARATOR)]
    volumes = [float(text) for text in str(figures["volume"]).split(SEPARATOR)]
    if len(volumes) < len(times):  # equal figures are written once
        volumes *= len(times)
    stamps = [midnight + of_row.hour * 3600 + of_row.minute * 60 for of_row in times]
    stamps = [stamp if stamp >= first_stamp else stamp + _SECONDS_OF_DAY for stamp in stamps]  # Sydney trades on then
    return list(zip(stamps, volumes, strict=True))


def list_disproved_by_day(figures: Mapping[str, float | str | None], rows: int) -> list[bool]:
    """For each row of a doubt about the volumes of rows, whether its day disproves the volume."""
    parts = str(figures.get(DAY_VOLUME, _NO_FIGURE)).split(SEPARATOR)
    return [part not in (_NO_FIGURE, "None") for part in (parts * rows if len(parts) == 1 else parts)]


def join_figures(values: Sequence[float | str | None]) -> float | str | None:
    """The figures of several rows as one: equal ones once, others side by side."""
    if len(set(values)) == 1:
        return values[0]
    return SEPARATOR.join(_NO_FIGURE if value is None else str(value) for value in values)


def _to_whole(value: float) -> float:
    return int(value) if value == int(value) else value
