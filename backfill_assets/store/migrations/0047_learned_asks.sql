-- readable since: 9
--
-- The newest request to which a session was not published yet. With the first one that brought it (published_at), it
-- bounds when the session came; from that it is learned when the next ones are requested.
ALTER TABLE backfill.session_evidence
    ADD COLUMN unpublished_at timestamptz;  -- -infinity: the first request brought it; null: not known
