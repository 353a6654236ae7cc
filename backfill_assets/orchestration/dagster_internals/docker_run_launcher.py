"""Docker: a run launcher of Dagster with runs that are watched.

Needs the extra ``docker``. Its configuration is that of Dagster's launcher.

Relies on ``DockerRunLauncher`` of dagster_docker.docker_run_launcher. Upstream: no issue found; it
would be "a run whose Docker host is lost stays started".
"""

from backfill_assets.errors import UsageError
from backfill_assets.orchestration.dagster_internals.run_health import WatchesRuns

try:
    from dagster_docker.docker_run_launcher import DockerRunLauncher
except ModuleNotFoundError as error:
    raise UsageError(
        f"dagster.yaml names a run launcher for Docker, but {error.name} is not installed; on every machine that"
        ' reads this dagster.yaml: pip install "backfill_assets[docker]"'
    ) from error


class WatchfulDockerRunLauncher(WatchesRuns, DockerRunLauncher):
    """Starts runs in containers of one Docker host, and watches them."""
