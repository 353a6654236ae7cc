"""The store that the families share whose subject is not the store: two symbols, most bars of two sessions."""

from backfill_assets_tests.fuzz.answers import SYMBOLS, WINDOW
from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.workbench import Workbench, get_name


def get_usual_template(workbench: Workbench) -> str:
    """The name of a database with bars of AAPL, none of MSFT, and a ticker that the vendor does not know."""
    if "usual" not in workbench.cache:
        url = workbench.create_database()
        environment = workbench.build_environment(url)
        for command in (
            ["symbols", "add", *SYMBOLS, "NOSUCH"],
            ["run", "--force", "--symbols", "AAPL,NOSUCH", *WINDOW],
        ):
            run = run_command(command, environment)
            if run.code not in {0, 3}:
                raise AssertionError(f"the fuzz cannot start: {run}")
        workbench.cache["usual"] = get_name(url)
    return str(workbench.cache["usual"])
