"""Kubernetes: a run launcher of Dagster with runs that are watched.

Needs the extra ``k8s``. Its configuration is that of Dagster's launcher.

Relies on ``K8sRunLauncher`` of dagster_k8s.launcher. Upstream: no issue found; it would be
"a run whose node is lost stays started until Kubernetes gives the pod up".
"""

from backfill_assets.errors import UsageError
from backfill_assets.orchestration.dagster_internals.run_health import WatchesRuns

try:
    from dagster_k8s.launcher import K8sRunLauncher
except ModuleNotFoundError as error:
    raise UsageError(
        f"dagster.yaml names a run launcher for Kubernetes, but {error.name} is not installed; on every machine that"
        ' reads this dagster.yaml: pip install "backfill_assets[k8s]"'
    ) from error


class WatchfulK8sRunLauncher(WatchesRuns, K8sRunLauncher):
    """Starts runs as jobs of Kubernetes, and watches them."""
