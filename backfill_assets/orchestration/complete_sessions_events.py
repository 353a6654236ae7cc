"""Which new certificates become events of ``complete_sessions``, and what a sensor has to remember for that. Pure.

The first certificate of a session does at once. A later one does if it is a material revision, and only when it was the
newest for a whole tick without a run: a review revises a session symbol by symbol, and is to make one event of it.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date

from backfill_assets.store.certificate_values import Certificate


@dataclass(frozen=True, slots=True)
class GateCursor:
    """What the sensor remembers between two ticks.

    Attributes:
        seen: the newest certificate that was looked at.
        held: by ``name_session``, the newest certificate of sessions whose material revision is no event yet.
        states: by universe, a fingerprint of the states of its sessions when its check was last evaluated.
        evaluations: how many runs of the check were requested.
        told: universes without an asset of which the log has told.
    """

    seen: int
    held: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    evaluations: int = 0
    told: Sequence[str] = ()

    def to_json(self) -> str:
        """The cursor as text."""
        return json.dumps(asdict(self))


def parse_cursor(text: str | None) -> GateCursor | None:
    """Read back what ``to_json`` returned; None for no text."""
    return GateCursor(**json.loads(text)) if text else None


def name_session(universe: str, day: date) -> str:
    """A session of a universe in the cursor."""
    return f"{universe} {day.isoformat()}"


@dataclass(frozen=True, slots=True)
class ChosenEvents:
    """The certificates of which an event is due, by id, and the cursor that then holds."""

    certificate_ids: tuple[int, ...]
    cursor: GateCursor


def choose_events(
    cursor: GateCursor,
    written: Sequence[Certificate],
    universes: Collection[str],
    days: Collection[date],
    *,
    is_quiet: bool,
) -> ChosenEvents:
    """Decide which certificates become events.

    Args:
        cursor: of the last tick.
        written: the certificates after ``cursor.seen``, by id.
        universes: those that have an asset.
        days: the sessions whose certificates become events by themselves.
        is_quiet: whether no run is in progress that may revise more.
    """
    eligible = [c for c in written if c.universe in universes and c.session_day in days]
    first, held = _split(eligible, cursor.held)
    due = {name: number for name, number in held.items() if is_quiet and cursor.held.get(name) == number}
    seen = max([cursor.seen, *(certificate.certificate_id for certificate in written)])
    waiting = {name: number for name, number in held.items() if name not in due}
    return ChosenEvents(tuple(sorted([*first.values(), *due.values()])), replace(cursor, seen=seen, held=waiting))


def _split(certificates: Iterable[Certificate], held: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The newest certificate of sessions that have their first one now, and of those with a material revision."""
    first: dict[str, int] = {}
    revised = dict(held)
    for certificate in certificates:
        name, number = name_session(certificate.universe, certificate.session_day), certificate.certificate_id
        if certificate.previous_id is None or name in first:
            first[name] = number
        elif certificate.is_material or name in revised:
            revised[name] = number
    return first, revised
