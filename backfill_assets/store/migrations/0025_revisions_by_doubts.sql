-- readable since: 9
--
-- Which changes of bars are not the vendor's.

-- The doubt whose volume was taken out of the bar or put back by the settled day; null: another change.
ALTER TABLE backfill.revisions ADD COLUMN doubt_id bigint;
