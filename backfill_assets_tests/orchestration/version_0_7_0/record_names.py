"""Record what ``test_exchange_names`` compares with: the definitions of version 0.7.0.

Not imported by any test. Run it inside a checkout of commit cd946d8 (``git worktree add ../cd946d8 cd946d8``) with the
path of ``described_definitions.py``:

    cd ../cd946d8; PYTHONPATH=. python <this file>
"""

import json
import os
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NOW = "2026-06-03T14:00:00+00:00"
VARIANTS = {
    "default": {},
    "every option": {
        "BACKFILL_INTERVALS": '["30m", "1h"]',
        "BACKFILL_UNIVERSES": '["all", "model"]',
        "BACKFILL_LIVE": "true",
        "BACKFILL_AUTO": "false",
    },
    "three exchanges": {
        "BACKFILL_INTERVALS": '["30m"]',
        "BACKFILL_UNIVERSES": '["all"]',
        "BACKFILL_LIVE": "false",
        "BACKFILL_AUTO": "true",
        "BACKFILL_EXCHANGES": '["US", "LSE", "AU"]',
    },
}


def main() -> None:
    """Load the definitions over an empty database and describe them, once for each variant."""
    from backfill_assets.config.settings import load_settings
    from backfill_assets.orchestration.build import build_definitions
    from backfill_assets.store.postgres.database import open_database
    from backfill_assets_tests.embedded_server import release_embedded_server

    sys.path.insert(0, str(FOLDER.parent))
    from described_definitions import describe_definitions

    described = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"BACKFILL_HOME": folder, "BACKFILL_AS_OF": NOW}
        open_database(load_settings()).close()
        for name, environment in VARIANTS.items():
            os.environ |= environment
            described[name] = describe_definitions(build_definitions(load_settings()))
        release_embedded_server(Path(folder))
    (FOLDER / "names.json").write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
