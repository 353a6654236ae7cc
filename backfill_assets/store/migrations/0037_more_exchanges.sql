-- readable since: 9
--
-- The exchanges that are new among the profiles, as 0033 has the others. Coins and currencies have no splits and no
-- dividends, and none are requested: so none are unread, and their adjusted bars are the raw ones.

ALTER TABLE backfill.exchanges ADD COLUMN has_actions boolean NOT NULL DEFAULT true; -- dividends and splits
INSERT INTO backfill.exchanges (exchange, zone, currency, price_unit, names, has_actions) VALUES
    ('SHG', 'Asia/Shanghai', 'CNY', 'CNY', '{SHANGHAI,SHANGHAISTOCKEXCHANGE,SHH,SSE,XSHG}', true),
    ('SHE', 'Asia/Shanghai', 'CNY', 'CNY', '{SHENZHEN,SHENZHENSTOCKEXCHANGE,SZSE,XSHE}', true),
    ('HK', 'Asia/Hong_Kong', 'HKD', 'HKD', '{HKEX,HKG,HONGKONGSTOCKEXCHANGE,SEHK,XHKG}', true),
    ('TSE', 'Asia/Tokyo', 'JPY', 'JPY', '{JPX,TOKYO,TOKYOSTOCKEXCHANGE,TYO,XTKS}', true),
    ('NSE', 'Asia/Kolkata', 'INR', 'INR', '{NATIONALSTOCKEXCHANGEOFINDIA,XNSE}', true),
    ('KAR', 'Asia/Karachi', 'PKR', 'PKR', '{KARACHI,PAKISTANSTOCKEXCHANGE,PSX,XKAR}', true),
    ('TA', 'Asia/Jerusalem', 'ILS', 'ILA', '{TASE,TELAVIV,TELAVIVSTOCKEXCHANGE,TLV,XTAE}', true),
    ('JK', 'Asia/Jakarta', 'IDR', 'IDR', '{IDX,INDONESIASTOCKEXCHANGE,JAKARTA,JKT,XIDX}', true),
    ('BK', 'Asia/Bangkok', 'THB', 'THB', '{BANGKOK,BKK,SET,STOCKEXCHANGEOFTHAILAND,XBKK}', true),
    ('KLSE', 'Asia/Kuala_Lumpur', 'MYR', 'MYR', '{BURSAMALAYSIA,KLS,MYX,XKLS}', true),
    ('PSE', 'Asia/Manila', 'PHP', 'PHP', '{MANILA,PHILIPPINESTOCKEXCHANGE,PHS,XPHS}', true),
    ('CC', 'UTC', NULL, NULL, '{CRYP,CRYPTO,CRYPTOCURRENCIES,CRYPTOCURRENCY}', false),
    ('FOREX', 'America/New_York', NULL, NULL, '{CDSL,CURRENCIES,CURRENCY,FX}', false)
ON CONFLICT (exchange) DO UPDATE SET has_actions = EXCLUDED.has_actions;

-- Whether a symbol can have dividends and splits, by its exchange. Not in SQL, as backfill.exchange_zone.
CREATE FUNCTION backfill.has_actions(for_symbol integer) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce((
        SELECT e.has_actions
        FROM market_symbols s
        CROSS JOIN LATERAL (SELECT upper(translate(s.exchange COLLATE "C", E' \t\r\n-._', ''))) AS n (name)
        JOIN backfill.exchanges e ON e.exchange = n.name OR n.name = ANY (e.names)
        WHERE s.symbol_id = for_symbol ORDER BY e.exchange <> n.name LIMIT 1), true);
END $$;

-- As in 0033, but for the last line.
CREATE OR REPLACE FUNCTION backfill.unread_actions(
    for_symbol integer, adjustment text DEFAULT 'splits_and_dividends', point_in_time timestamptz DEFAULT NULL,
    known_zone text DEFAULT NULL
)
RETURNS TABLE (instrument_id bigint, kind text, until_day date, missing text, remedy text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH ticker AS (
        SELECT DISTINCT m.instrument_id, m.symbol_id, nullif(m.listed_until, (
            SELECT max(n.listed_until) FROM backfill.listings n
            WHERE n.instrument_id = m.instrument_id AND n.withdrawn_at IS NULL
            HAVING bool_and(n.listed_until IS NOT NULL))) AS listed_until, s.is_active
        FROM backfill.listings o JOIN backfill.listings m ON m.instrument_id = o.instrument_id
        JOIN market_symbols s ON s.symbol_id = m.symbol_id
        WHERE o.symbol_id = for_symbol AND o.withdrawn_at IS NULL AND m.withdrawn_at IS NULL
        UNION ALL
        SELECT NULL, for_symbol, NULL, s.is_active FROM market_symbols s
        WHERE s.symbol_id = for_symbol AND NOT EXISTS (
            SELECT FROM backfill.listings l WHERE l.symbol_id = for_symbol AND l.withdrawn_at IS NULL)
    ), known AS (
        SELECT t.instrument_id, k.kind, bool_or(t.is_active) AS is_active,
               range_agg(daterange(r.known_after, CASE WHEN t.listed_until IS NOT NULL
                                                       THEN greatest(least(t.listed_until, r.known_until), r.known_after)
                                                  END, '(]')) FILTER (WHERE r.known_after IS NOT NULL) AS days
        FROM ticker t CROSS JOIN (VALUES ('splits'), ('dividends')) AS k (kind)
        LEFT JOIN LATERAL (
            SELECT s.known_after, s.known_until FROM backfill.split_reads s
            WHERE k.kind = 'splits' AND s.symbol_id = t.symbol_id
            UNION ALL
            SELECT d.known_after, d.known_until FROM backfill.dividend_reads d
            WHERE k.kind = 'dividends' AND d.symbol_id = t.symbol_id
        ) r ON true
        WHERE k.kind = 'splits' OR adjustment = 'splits_and_dividends'
        GROUP BY t.instrument_id, k.kind
    )
    SELECT u.instrument_id, u.kind, least(u.known_after, (
               least(point_in_time, now()) AT TIME ZONE coalesce(known_zone, backfill.symbol_zone(for_symbol))
               )::date),
           CASE u.known_after WHEN 'infinity' THEN 'they have not been read'
                ELSE format('those up to %s have not been read', u.known_after) END,
           CASE WHEN u.is_active
                THEN 'They are read with the daily data (BACKFILL_DAILY_DATA), if the vendor''s plan includes them.'
                ELSE 'Of an inactive symbol they are read once with the daily data (BACKFILL_DAILY_DATA), after those of'
                     || ' active ones, and requested weekly while the vendor does not know the ticker.' END
           || ' The adjustment ' || CASE u.kind WHEN 'splits' THEN '''none''' ELSE '''splits''' END || ' does without them.'
    FROM (
        SELECT k.instrument_id, k.kind, k.is_active, coalesce(
                   (SELECT lower(d.days) - 1 FROM unnest(k.days) AS d (days) WHERE upper_inf(d.days)), 'infinity'
               ) AS known_after
        FROM known k
    ) u WHERE u.known_after > '1900-01-01' AND backfill.has_actions(for_symbol)
$$;
