"""``python -m backfill_assets`` is ``backfill-assets``."""

from backfill_assets.cli.main import main

main()
