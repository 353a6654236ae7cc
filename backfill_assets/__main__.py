"""Makes ``python -m backfill_assets`` the same as ``backfill-assets``."""

from backfill_assets.cli.main import main

main()
