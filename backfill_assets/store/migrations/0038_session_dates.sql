-- readable since: 9
--
-- A session date is not everywhere from midnight to midnight: a trade date of currencies begins at 17:00 of the day
-- before in New York. Until now SQL gave a bar of that evening the date of the day before.

-- From midnight of a session date to its beginning by the clock of the exchange; negative on the evening before.
ALTER TABLE backfill.exchanges ADD COLUMN day_begin interval NOT NULL DEFAULT '0';

UPDATE backfill.exchanges SET day_begin = '-7 hours' WHERE exchange = 'FOREX';

-- As backfill.exchange_zone: not in SQL, so that the planner does not plan the lookup in queries of the US alone.
CREATE FUNCTION backfill.exchange_day_begin(exchange_name text) RETURNS interval LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    IF exchange_name = 'US' THEN
        RETURN interval '0';
    END IF;
    RETURN coalesce((
        SELECT e.day_begin
        FROM (SELECT upper(translate(exchange_name COLLATE "C", E' \t\r\n-._', ''))) AS n (name)
        JOIN backfill.exchanges e ON e.exchange = n.name OR n.name = ANY (e.names)
        ORDER BY e.exchange <> n.name LIMIT 1), interval '0');
END $$;

-- Beside the change of clocks too: no session of such an exchange contains one.
CREATE OR REPLACE FUNCTION backfill.session_day(moment timestamptz, exchange_name text) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (moment AT TIME ZONE backfill.exchange_zone(exchange_name)
            - backfill.exchange_day_begin(exchange_name))::date
$$;
CREATE OR REPLACE FUNCTION backfill.session_day_begin(day date, exchange_name text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (day + backfill.exchange_day_begin(exchange_name)) AT TIME ZONE backfill.exchange_zone(exchange_name)
$$;

-- The type is the one that the function was made with. Two arguments come first.
DO $create$
DECLARE
    id_type text := (SELECT format_type(p.proallargtypes[3], NULL) FROM pg_proc p
                     WHERE p.oid = 'backfill.adjusted_bars(text, timestamptz)'::regprocedure);
BEGIN
    EXECUTE format($definition$
CREATE OR REPLACE FUNCTION backfill.adjusted_bars(adjustment text, point_in_time timestamptz DEFAULT NULL)
RETURNS TABLE (symbol_id %s, interval_type text, "timestamp" timestamptz, session_day date,
               open_price double precision, high_price double precision, low_price double precision,
               close_price double precision, volume double precision, source text, source_interval text,
               source_rows integer, is_final boolean, fetched_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000000 AS $$
    SELECT s.symbol_id, d.interval_type::text, d."timestamp", (d."timestamp" AT TIME ZONE f.zone - b.day_begin)::date,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.open_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.high_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.low_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.close_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.old_shares[d.n] <> 'NaN' THEN d.volume::float8 * f.new_shares[d.n] / f.old_shares[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", 'splits', point_in_time) END,
           d.source::text, d.source_interval::text, d.source_rows::integer, d.is_final, d.fetched_at
    FROM market_symbols s
    CROSS JOIN LATERAL backfill.adjustment_arrays(
        s.symbol_id::integer, adjustment, point_in_time, backfill.exchange_zone(s.exchange)) f
    CROSS JOIN LATERAL (SELECT backfill.exchange_day_begin(s.exchange) AS day_begin OFFSET 0) b  -- once a symbol
    CROSS JOIN LATERAL (
        SELECT m.interval_type, m."timestamp", m.open_price, m.high_price, m.low_price, m.close_price,
               CASE WHEN m.volume_known IS NOT FALSE THEN m.volume END AS volume,
               m.source, m.source_interval, m.source_rows, m.is_final, m.fetched_at,
               backfill.find_position(m."timestamp", f.begins) AS n
        FROM market_data m WHERE m.symbol_id = s.symbol_id
    ) d
    WHERE backfill.require_adjustment(adjustment)
$$;
    $definition$, id_type);
END $create$;
