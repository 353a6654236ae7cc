-- Whose bars this database holds: one host. The first that bars are stored from is it, so that a
-- stand-in's bars and the vendor's never mix.

CREATE TABLE backfill.source_host (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    host  text        NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Runs that were made before this table was: the mark of any bar of ours says it, one probe a ticker.
INSERT INTO backfill.source_host (host)
SELECT d.source FROM market_symbols s CROSS JOIN LATERAL (
    SELECT source FROM market_data m WHERE m.symbol_id = s.symbol_id AND m.source IS NOT NULL LIMIT 1
) d WHERE EXISTS (SELECT FROM backfill.runs) LIMIT 1;
