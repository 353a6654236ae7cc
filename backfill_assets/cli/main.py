"""The command line: reads options, calls one use case, shows what it gave. Decides nothing.

Imports of the use cases stand inside the commands, so that ``--help`` answers at once.
"""

import gc
import signal
import sys
import traceback
from types import FrameType

import click

from backfill_assets.cli.alerts import alerts
from backfill_assets.cli.demo import demo
from backfill_assets.cli.dev import dev
from backfill_assets.cli.live import live
from backfill_assets.cli.report import report
from backfill_assets.cli.review import review
from backfill_assets.cli.run import plan, run
from backfill_assets.cli.sandbox import sandbox
from backfill_assets.cli.settings import settings
from backfill_assets.cli.status import status
from backfill_assets.cli.symbols import symbols
from backfill_assets.cli.verify import verify
from backfill_assets.cli.why import why
from backfill_assets.errors import BackfillError

EXIT_INTERRUPTED = 130
GC_THRESHOLDS = (50_000, 20, 100)  # what imports make lives to the end: looking through it again and again costs 60 ms


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="backfill_assets")
def cli() -> None:
    """Keep a Postgres store of 30-minute market bars complete, prove it, and say so when it can't."""


for _command in (symbols, report, plan, run, verify, why, review, live, status, alerts, settings, sandbox, demo, dev):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and end the process with the exit code that the outcome has (README)."""
    gc.set_threshold(*GC_THRESHOLDS)
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _raise_interrupt)
    code = _run_cli(debug="--debug" in sys.argv[1:])
    gc.freeze()  # the end comes without a last walk through everything
    sys.exit(code)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's form
    """A normal exit, so that the embedded server stops and what was fetched is stored."""
    raise KeyboardInterrupt


def _format_on_one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message.rstrip('.')}; see {context.command_path} --help"


def _run_cli(*, debug: bool) -> int:
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as error:
        click.echo(f"error: {_format_on_one_line(error)}", err=True)
        return 2
    except BackfillError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was fetched is stored, the next run goes on from there", err=True)
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: one line for people
        if debug:
            traceback.print_exc()
        message = " ".join(str(error).split())
        click.echo(f"bug: {type(error).__name__}: {message}; run again with --debug and report it", err=True)
        return 1
    return code if isinstance(code, int) else 0
