-- What is known of the newest sessions is read for everybody at once, so that it has to lie together.
CREATE INDEX evidence_by_day ON backfill.evidence (session_day);
ALTER TABLE backfill.daily DROP CONSTRAINT daily_pkey, ADD PRIMARY KEY (day, symbol_id);
CREATE INDEX rejects_distrusted ON backfill.rejects ("timestamp") WHERE reason = 'volume_cumulative';
