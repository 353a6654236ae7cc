-- readable since: 9
--
-- Actions that the vendor lists in several versions at once, and requests for the closes that dividends are shares of.

-- All versions of one ex-date, separated by commas, if nothing tells which holds: new:old shares of a split, amount and
-- currency of a dividend. The action then has no factor; the row has the version that was listed first. Null: only one.
ALTER TABLE backfill.splits ADD COLUMN contradiction text;
ALTER TABLE backfill.split_revisions ADD COLUMN contradiction text;
ALTER TABLE backfill.dividends ADD COLUMN contradiction text;
ALTER TABLE backfill.dividend_revisions ADD COLUMN contradiction text;

CREATE INDEX contradicting_splits ON backfill.splits (symbol_id) WHERE contradiction IS NOT NULL;
CREATE INDEX contradicting_dividends ON backfill.dividends (symbol_id) WHERE contradiction IS NOT NULL;

-- When the splits and dividends of a day were read for the whole market; null: never.
ALTER TABLE backfill.bulk_files
    ADD COLUMN splits_read_at timestamptz,
    ADD COLUMN dividends_read_at timestamptz;

-- When the daily closes that a symbol's actions need, and that the store lacked, were last requested; null: never.
ALTER TABLE backfill.dividend_reads ADD COLUMN closes_requested_at timestamptz;
