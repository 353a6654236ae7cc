-- readable since: 9
--
-- A finding that no longer holds is resolved and stays in the table. A program of migration 9 goes on showing it.

ALTER TABLE backfill.findings ADD COLUMN resolved_at timestamptz;  -- null: it holds
