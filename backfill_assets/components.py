"""The component: the definitions of ``build_backfill_definitions`` for a YAML file of a project, without any Python.

``dg`` finds it by the entry point in pyproject.toml.
"""

from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from backfill_assets.definitions import build_backfill_definitions
from backfill_assets.errors import UsageError


class BackfillComponent(dg.Component, dg.Resolvable, dg.Model):
    """Keeps intraday bars in Postgres complete and checked: assets, checks, sensors, schedules and jobs."""

    exchanges: Annotated[
        list[str] | None,
        dg.Resolver.default(
            description="The vendor's codes of the exchanges; unset: BACKFILL_EXCHANGES, else US.",
            examples=[["US"], ["US", "LSE"]],
        ),
    ] = None
    intervals: Annotated[
        list[str] | None,
        dg.Resolver.default(
            description="Bar intervals, each with an asset of its own; unset: BACKFILL_INTERVALS, else 30m.",
            examples=[["30m"], ["30m", "1h"]],
        ),
    ] = None
    universe: Annotated[
        str | list[str] | None,
        dg.Resolver.default(
            description="The named universe whose complete sessions are an asset, or a list of them; unset:"
            " BACKFILL_UNIVERSES, else all.",
            examples=["model", ["all", "model"]],
        ),
    ] = None
    settings: Annotated[
        dict[str, Any],
        dg.Resolver.default(
            description="Other settings by their variables; they win over the environment, where secrets belong.",
            examples=[{"BACKFILL_PARTITION_DAYS": 30, "BACKFILL_OWNERS": ["team:market-data"]}],
        ),
    ] = Field(default_factory=dict)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What lists of components show."""
        return dg.ComponentTypeSpec(
            description=cls.__doc__,
            tags=["postgres", "eodhd"],
            produces=["asset", "asset_check", "job", "resource", "schedule", "sensor"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """The definitions for these attributes.

        Raises:
            UsageError: an unknown exchange or setting, or an invalid value.
            DatabaseUnavailable: no database.
        """
        attributes = {"exchanges": self.exchanges, "intervals": self.intervals, "universes": self.universe}
        if repeated := sorted(attributes.keys() & self.settings):
            raise UsageError(f"settings has {', '.join(repeated)}, for which the component has attributes of their own")
        return build_backfill_definitions(**attributes, **self.settings)
