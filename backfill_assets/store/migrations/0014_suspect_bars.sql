-- readable since: 9
--
-- Bars around rejected rows, and bars whose rows end before the close, are suspect. A program of migration 9 goes on
-- writing both tables; it leaves the new columns as they are.

ALTER TABLE backfill.rejects
    ADD COLUMN superseded_intervals text[] NOT NULL DEFAULT '{}',  -- bar intervals whose newest answer lacks the row
    ADD COLUMN superseded_at timestamptz;                          -- since when that holds for every interval
ALTER TABLE backfill.session_evidence                               -- whether the rows that reached furthest ended
    ADD COLUMN ends_before_close boolean NOT NULL DEFAULT false;    -- before the close, although more were to come

-- Both are looked up by time, for all symbols at once.
DROP INDEX backfill.rejects_cumulative_volume;
CREATE INDEX rejects_current ON backfill.rejects ("timestamp")
    WHERE superseded_at IS NULL AND reason <> 'duplicate_stamp' AND (volume IS NOT NULL OR reason = 'volume_cumulative');
CREATE INDEX session_evidence_cut ON backfill.session_evidence (session_day) WHERE ends_before_close;
