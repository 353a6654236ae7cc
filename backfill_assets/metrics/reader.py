"""Metrics as text: opens the store, reads one pass of figures, and writes them in a format of Prometheus.

A pass never raises for what is wrong with the database; it says so. Serving the text over HTTP is in ``server``.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import Settings
from backfill_assets.errors import BackfillError
from backfill_assets.metrics.families import build_down_families, build_families
from backfill_assets.metrics.figures import read_figures

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MetricsPass:
    """What a pass found: the families, and why the figures could not be read; None if they could."""

    families: tuple[Metric, ...]
    failure: str | None = None


class MetricsReader:
    """Reads passes over one store, which stays open between them; ``read`` is not for several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._resources = ExitStack()

    def read(self) -> MetricsPass:
        """One pass. A database that is away, or unusable, is tried again by the next pass."""
        try:
            return MetricsPass(tuple(self._read_families()))
        except BackfillError as error:
            _log.warning("no metrics: %s", error)
            return MetricsPass(tuple(build_down_families()), error.headline)
        except Exception:  # noqa: BLE001 - a server goes on, whatever is wrong with one pass
            _log.exception("no metrics")
            return MetricsPass(tuple(build_down_families()), "this is a bug; see the log of the metrics server")

    def _read_families(self) -> Iterator[Metric]:
        if self._engine is None:
            self._engine = self._resources.enter_context(open_engine(self._settings))
        return read_families(self._engine)

    def close(self) -> None:
        """Close the store; the embedded server may then stop."""
        self._resources.close()


def read_families(engine: Engine) -> Iterator[Metric]:
    """The families of one pass.

    Raises:
        DatabaseUnavailable: the server cannot be reached, or refuses.
    """
    began = time.perf_counter()
    figures = read_figures(engine.database, engine.settings)
    return build_families(figures, time.perf_counter() - began)


def format_metrics(families: Iterable[Metric], accept: str = "") -> tuple[bytes, str]:
    """The families as text and its media type, in the format that an ``Accept`` header prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(families))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Fixed(Collector):
    """Families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


ReadPass = Callable[[], MetricsPass]
