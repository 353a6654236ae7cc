"""Codes that belong to one instrument and later to another (docs/vendor.md §2.17). Values only."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Recycled:
    """A code with two holders; the vendor gives the rows of both under it, with nothing in between.

    If the first holder is renamed (``SandboxConfig.renamed``), its rows go with its new name. If another ticker is
    renamed to this code, it is the second holder, and the code lacks its rows before ``since``.

    Attributes:
        ended: the last day of the first holder.
        since: the first day of the second one.
        price_factor: of the prices of the one that is not known by another name or by this code alone.
    """

    ended: date
    since: date
    price_factor: float = 0.1
