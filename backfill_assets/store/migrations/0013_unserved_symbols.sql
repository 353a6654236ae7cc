-- readable since: 9
--
-- Symbols that the vendor does not serve, and why a day without a daily row counts as a day without trades.

-- Symbols that never had a bar and for which the vendor has no intraday data: requested weekly, and not judged.
CREATE TABLE backfill.unserved_symbols (
    symbol_id   integer     NOT NULL,
    found_at    timestamptz NOT NULL,
    asked_since timestamptz NOT NULL,  -- the first request in vain
    reason      text        NOT NULL,  -- what the vendor said
    ended_at    timestamptz,           -- when it answered or was deactivated; null: it holds
    PRIMARY KEY (symbol_id, found_at)
);
CREATE UNIQUE INDEX ON backfill.unserved_symbols (symbol_id) WHERE ended_at IS NULL;

-- How the vendor refused the daily history, empty if it answered without rows; null: there are rows, or not known.
ALTER TABLE backfill.listing_lives ADD COLUMN refusal text;

-- Why a day counts as one without trades although the vendor has no daily row; null: it has one.
ALTER TABLE backfill.daily_prices ADD COLUMN no_row_reason text;

-- The symbols that were looked for in the file; null: not known.
ALTER TABLE backfill.bulk_files ADD COLUMN searched_ids integer[];

-- When a process began to read the file, by the server's clock; null: none is reading it. Until it was read once, the
-- row has the read_at '-infinity'.
ALTER TABLE backfill.bulk_files ADD COLUMN requested_at timestamptz;
