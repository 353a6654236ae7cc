"""Has a code server load its definitions again: what the button *Reload* in Dagster's UI does, asked for by a sensor.

A sensor is evaluated in the code server, and Dagster tells it under which address the daemon reaches that server. A
server that ``dagster code-server start`` has started, and those of ``dagster dev``, then start a new process, hand over
to it and let the old one finish its ticks and runs. Daemon and webserver notice it within seconds. One that
``dagster api grpc`` has started ignores the request. Where the daemon loads the code itself, there is no such server.

Relies on ``GrpcServerCodeLocationOrigin``, ``DagsterGrpcClient.reload_code`` and
``SensorEvaluationContext.code_location_origin``. Upstream: no issue found; it would be "let user code ask for a reload
of its own location".
"""

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin

RELOAD_SECONDS = 40  # of the 60 that a sensor has; a slower reload goes on all the same


class ReloadUnsupported(Exception):  # noqa: N818 - a state of the deployment
    """No server of its own has these definitions, so nobody can be asked to load them again."""


def request_reload(context: dg.SensorEvaluationContext) -> bool:
    """Ask the code server of the sensor to load its definitions again; returns whether it answered in time.

    Raises:
        ReloadUnsupported: it is no server of its own.
    """
    origin = context.code_location_origin
    if not isinstance(origin, GrpcServerCodeLocationOrigin):
        raise ReloadUnsupported
    try:
        origin.create_client().reload_code(timeout=RELOAD_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        context.log.warning("the code server did not answer: %s", error)
        return False
    return True
