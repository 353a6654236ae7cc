"""The life of each ticker as far as it is known, as SQL: its newest listing, and what the daily data say otherwise.

A listing that a person confirmed (``store.listings``) wins over the days that were read from daily data: those of a
ticker that is used again reach back to the instrument before, and the vendor gives the history of a renamed one under
the new name.
"""

# The newest listing of each ticker that has listings.
NEWEST_LISTINGS = """
(SELECT DISTINCT ON (symbol_id) symbol_id, instrument_id, listed_from, listed_until FROM backfill.listings
 WHERE withdrawn_at IS NULL ORDER BY symbol_id, listed_from DESC NULLS LAST, listing_id DESC)
"""
# Columns as in backfill.listing_lives: symbol_id, first_day, last_day, has_ended. last_day counts if it has ended. An
# end that the daily data show belongs to the newest listing unless it lies before it.
KNOWN_LIVES = f"""
(SELECT symbol_id, coalesce(n.listed_from, d.first_day) AS first_day, coalesce(n.listed_until, d.last_day) AS last_day,
        n.listed_until IS NOT NULL
        OR (coalesce(d.has_ended, false) AND (n.listed_from IS NULL OR d.last_day >= n.listed_from)) AS has_ended
 FROM backfill.listing_lives d FULL JOIN {NEWEST_LISTINGS} n USING (symbol_id))
"""  # noqa: S608 - only a constant is inserted
