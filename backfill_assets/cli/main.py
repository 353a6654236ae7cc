"""The command line: registers the commands, and turns errors into messages and exit codes.

Each command has a module of its own. It imports what it needs when it runs, so that ``--help`` starts quickly.
"""

import logging
import signal
import sys
import traceback
from collections.abc import Iterable
from types import FrameType

import click

from backfill_assets.cli.actions import actions
from backfill_assets.cli.alerts import alerts
from backfill_assets.cli.audit import audit
from backfill_assets.cli.bars import bars
from backfill_assets.cli.census import census
from backfill_assets.cli.certify import certificates, certify
from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.decisions import decisions
from backfill_assets.cli.demo import demo
from backfill_assets.cli.dev import dev
from backfill_assets.cli.export import export
from backfill_assets.cli.history import history
from backfill_assets.cli.live import live
from backfill_assets.cli.markets import markets
from backfill_assets.cli.metrics import metrics
from backfill_assets.cli.migrate import migrate
from backfill_assets.cli.output import describe_failure, provide_output
from backfill_assets.cli.partition_table import partition_table
from backfill_assets.cli.pause import pause
from backfill_assets.cli.plan import plan
from backfill_assets.cli.report import report
from backfill_assets.cli.resume import resume
from backfill_assets.cli.review import review
from backfill_assets.cli.run import run
from backfill_assets.cli.sandbox import sandbox
from backfill_assets.cli.settings import settings
from backfill_assets.cli.status import status
from backfill_assets.cli.symbols import symbols
from backfill_assets.cli.universes import universes
from backfill_assets.cli.verify import verify
from backfill_assets.cli.verify_certificate import verify_certificate
from backfill_assets.cli.why import why
from backfill_assets.config.garbage_collection import collect_less_often, exclude_loaded_objects
from backfill_assets.config.readable_text import to_one_line
from backfill_assets.errors import BackfillError, UsageError

PROGRAM_NAME = "backfill-assets"  # in messages, also when started by ``python -m backfill_assets``
EXIT_INTERRUPTED = 130


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="backfill_assets")
def cli() -> None:
    """Find and fill gaps in a Postgres store of 30-minute market bars, and prove that it is complete."""


_COMMANDS = (
    *(markets, symbols, report, plan, run, verify, census, audit, why, actions, decisions, review, history, live),
    *(status, pause, resume),
    *(bars, export, universes, certify, verify_certificate, certificates),
    *(alerts, metrics, settings, migrate, partition_table, sandbox, demo, dev),
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit with the code of the outcome (docs/usage.md, "Exit codes")."""
    collect_less_often()
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _raise_interrupt)
    with provide_output() as out:
        code = _run_cli(debug="--debug" in sys.argv[1:])
        sys.stdout.flush()
        if failure := describe_failure(out):
            click.echo(f"error: {failure}", err=True)
            code = code or UsageError.exit_code
    exclude_loaded_objects()
    sys.exit(code)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
    """Unwind the stack, so that fetched bars are stored and the embedded server is stopped."""
    raise KeyboardInterrupt


def _report(kind: str, message: str, details: Iterable[str] = (), *, show_traceback: bool = False) -> None:
    """Say on standard error why the command ends: for people, or as a log record if the log is JSON."""
    log_format = sys.modules.get("backfill_assets.config.log_format")  # not loaded: the settings were not read
    if log_format is not None and log_format.is_json_configured():
        level = logging.ERROR if kind else logging.WARNING
        logging.getLogger(PROGRAM_NAME).log(level, "%s", "; ".join([message, *details]), exc_info=bool(kind))
        return
    if show_traceback:
        traceback.print_exc()
    for line in (f"{kind}: {message}" if kind else message, *(f"  {detail}" for detail in details)):
        click.echo(line, err=True)


def _format_on_one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    message = to_one_line(message)
    return message if context is None else f"{message.rstrip('.')}; see {context.command_path} --help"


def _run_cli(*, debug: bool) -> int:
    try:
        code = cli.main(prog_name=PROGRAM_NAME, standalone_mode=False)
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 0
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        _report("error", _format_on_one_line(error))
        return 2
    except BackfillError as error:
        _report("error", to_one_line(error.headline), map(to_one_line, error.details), show_traceback=debug)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _report("", "interrupted; fetched bars are stored, and the next run continues from there")
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - one line for users also of a bug
        message = to_one_line(" ".join(str(error).split()))
        advice = "run again with --debug and report the output"
        _report("bug", f"{type(error).__name__}: {message}; {advice}", show_traceback=debug)
        return 1
    return code if isinstance(code, int) else 0
