-- readable since: 9
--
-- A daily row may have no volume: that of currencies has none, and then 0 would say that nothing traded. Until now volume
-- was 0 there, and reported_volume null. Rows of before keep their 0; reported_volume tells both apart.

ALTER TABLE backfill.daily_prices ALTER COLUMN volume DROP NOT NULL;
COMMENT ON COLUMN backfill.daily_prices.volume IS 'shares, a fraction as one more; 0: nothing traded; null: unknown';
