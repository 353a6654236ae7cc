-- readable since: 9
--
-- With which address and token a run requested, as a fingerprint: its failures say nothing about another address or
-- token. Null: a run of a program that does not record it; it counts for each.

ALTER TABLE backfill.runs ADD COLUMN vendor_access text;
