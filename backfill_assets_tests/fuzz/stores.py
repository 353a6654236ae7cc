"""The stores that families share whose subject is not the store: two symbols, most bars of two sessions."""

from backfill_assets_tests.fuzz.answers import SYMBOLS, WINDOW
from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.exchanges import SEVERAL
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


def get_several_template(workbench: Workbench) -> str:
    """The name of the usual database with symbols of London, one of them with bars, and Sydney."""
    if "several" not in workbench.cache:
        url = workbench.create_database(get_usual_template(workbench))
        environment = workbench.build_environment(url, BACKFILL_EXCHANGES=SEVERAL)
        for command in (
            ["symbols", "add", "VOD.LSE", "BP.LSE", "BHP.AU"],
            ["run", "--force", "--symbols", "VOD.LSE", *WINDOW],
        ):
            run = run_command(command, environment)
            if run.code not in {0, 3}:
                raise AssertionError(f"the fuzz cannot start: {run}")
        workbench.cache["several"] = get_name(url)
    return str(workbench.cache["several"])
