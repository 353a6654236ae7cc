"""JSON log lines in Dagster's processes that load the definitions: code servers and runs (BACKFILL_LOG_FORMAT).

What Dagster's daemon and webserver write is Dagster's: they never load the definitions. Their option
``--log-format json`` makes lines of JSON of it, with ``event`` and ``timestamp`` instead of ``message`` and ``time``;
so it does of what a code server writes before it has loaded them.
"""

import logging

from backfill_assets.config.log_format import JsonFormatter, configure_logging, list_secrets
from backfill_assets.config.settings import Settings


def configure_json_logs(settings: Settings) -> None:
    """Make this process log JSON if the settings say so; text stays as Dagster has it.

    A run has a console logger of its own, which Dagster makes in the class of the process's loggers, and which a
    definition of a logger replaces only where the configuration of the run names it. So that class is what is changed.
    """
    if settings.log_format == "text":
        return
    configure_logging(settings)
    formatter = JsonFormatter(list_secrets(settings))

    class JsonLogger(logging.Logger):
        """A logger whose streams get JSON, whatever form their handlers were given."""

        def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - logging's name
            if isinstance(hdlr, logging.StreamHandler) and not isinstance(hdlr, logging.FileHandler):
                hdlr.setFormatter(formatter)
            super().addHandler(hdlr)

    logging.setLoggerClass(JsonLogger)
