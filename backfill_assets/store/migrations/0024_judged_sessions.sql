-- readable since: 9
--
-- How often the vendor repeated the values of a bar in doubt, and which sessions were judged as they are now.

ALTER TABLE backfill.doubts ADD COLUMN repeats integer NOT NULL DEFAULT 0;  -- answers with the same values since then
-- What a session's bars and its day were when the rules judged them, as a hash; null: not judged.
ALTER TABLE backfill.session_evidence ADD COLUMN judged_as bigint;
