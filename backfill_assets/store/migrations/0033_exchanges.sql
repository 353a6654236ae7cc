-- readable since: 9
--
-- Several exchanges in one database. A database of before has rows of the US alone, and they stay what they are.

-- What SQL has to know of an exchange, by the vendor's code; the program keeps it equal to its profiles. names are
-- further names in market_symbols, in capitals and without separators. A name that is not here is one of the US.
CREATE TABLE backfill.exchanges (
    exchange   text   PRIMARY KEY,
    zone       text   NOT NULL,               -- of its session dates
    currency   text,                          -- of most prices; null: not known
    price_unit text,                          -- what prices count, such as GBX for pence; null: not known
    names      text[] NOT NULL DEFAULT '{}'
);
INSERT INTO backfill.exchanges (exchange, zone, currency, price_unit, names) VALUES
    ('US', 'America/New_York', 'USD', 'USD', '{}'),
    ('LSE', 'Europe/London', 'GBP', 'GBX', '{LON,LONDON,LONDONSTOCKEXCHANGE,XLON}'),
    ('XETRA', 'Europe/Berlin', 'EUR', 'EUR', '{ETR,GER,IBIS,XETR}'),
    ('PA', 'Europe/Paris', 'EUR', 'EUR', '{EPA,EURONEXTPARIS,PAR,PARIS,XPAR}'),
    ('AS', 'Europe/Amsterdam', 'EUR', 'EUR', '{AMS,AMSTERDAM,EURONEXTAMSTERDAM,XAMS}'),
    ('BR', 'Europe/Brussels', 'EUR', 'EUR', '{BRU,BRUSSELS,EBR,EURONEXTBRUSSELS,XBRU}'),
    ('LS', 'Europe/Lisbon', 'EUR', 'EUR', '{ELI,EURONEXTLISBON,LIS,LISBON,XLIS}'),
    ('MC', 'Europe/Madrid', 'EUR', 'EUR', '{BME,BMEX,BOLSADEMADRID,MADRID,MCE,XMAD}'),
    ('SW', 'Europe/Zurich', 'CHF', 'CHF', '{EBS,SIX,SIXSWISSEXCHANGE,SWISS,SWX,XSWX,XVTX}'),
    ('ST', 'Europe/Stockholm', 'SEK', 'SEK', '{NASDAQSTOCKHOLM,OMXSTO,STO,STOCKHOLM,XSTO}'),
    ('OL', 'Europe/Oslo', 'NOK', 'NOK', '{OSL,OSLO,XOSL}'),
    ('CO', 'Europe/Copenhagen', 'DKK', 'DKK', '{COPENHAGEN,CPH,NASDAQCOPENHAGEN,OMXCOP,XCSE}'),
    ('HE', 'Europe/Helsinki', 'EUR', 'EUR', '{HEL,HELSINKI,NASDAQHELSINKI,OMXHEX,XHEL}'),
    ('VI', 'Europe/Vienna', 'EUR', 'EUR', '{VIE,VIENNA,WBAG,XWBO}'),
    ('WAR', 'Europe/Warsaw', 'PLN', 'PLN', '{GPW,WARSAW,WARSAWSTOCKEXCHANGE,WSE,XWAR}'),
    ('TO', 'America/Toronto', 'CAD', 'CAD', '{TOR,TORONTO,TORONTOSTOCKEXCHANGE,TSX,XTSE}'),
    ('V', 'America/Toronto', 'CAD', 'CAD', '{CVE,TSXV,TSXVENTUREEXCHANGE,VAN,XTSX}'),
    ('AU', 'Australia/Sydney', 'AUD', 'AUD', '{ASX,AUSTRALIANSECURITIESEXCHANGE,SYDNEY,XASX}'),
    ('KO', 'Asia/Seoul', 'KRW', 'KRW', '{KOREAEXCHANGE,KOSPI,KSC,XKRX}'),
    ('KQ', 'Asia/Seoul', 'KRW', 'KRW', '{KOE,KOSDAQ,XKOS}'),
    ('SA', 'America/Sao_Paulo', 'BRL', 'BRL', '{B3,BMFBOVESPA,BOVESPA,BVMF,SAO}'),
    ('MX', 'America/Mexico_City', 'MXN', 'MXN', '{BMV,BOLSAMEXICANADEVALORES,MEX,XMEX}'),
    ('JSE', 'Africa/Johannesburg', 'ZAR', 'ZAC', '{JNB,JOHANNESBURG,JOHANNESBURGSTOCKEXCHANGE,XJSE}'),
    ('IC', 'Atlantic/Reykjavik', 'ISK', 'ISK', '{NASDAQICELAND,OMXICE,REYKJAVIK,XICE}'),
    ('IR', 'Europe/Dublin', 'EUR', 'EUR', '{DUB,DUBLIN,EURONEXTDUBLIN,XDUB}'),
    ('TW', 'Asia/Taipei', 'TWD', 'TWD', '{TAI,TAIWANSTOCKEXCHANGE,TWSE,XTAI}'),
    ('TWO', 'Asia/Taipei', 'TWD', 'TWD', '{ROCO,TAIPEIEXCHANGE,TPEX}');

-- The currency and the unit of a symbol's prices where they are known better than by its exchange. The newest row that
-- is valid on a day holds on it.
CREATE TABLE backfill.symbol_currencies (
    symbol_id   integer     NOT NULL,
    valid_from  date        NOT NULL DEFAULT '-infinity', -- session date
    currency    text,                                     -- null: as the exchange
    price_unit  text,                                     -- null: as the exchange
    source      text        NOT NULL,                     -- what it rests on, in words
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, valid_from)
);

-- The hours of each session as evidence about it was first written. Evidence numbers a session's slots, so it would mean
-- other moments if the hours were others.
CREATE TABLE backfill.session_fingerprints (
    exchange    text        NOT NULL,
    session_day date        NOT NULL,
    fingerprint text        NOT NULL,         -- of the open and close of each of its parts
    opens_at    timestamptz NOT NULL,
    closes_at   timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (exchange, session_day)
);

-- Daily files and closures are of an exchange and a day. The tables of before stay the part of the US, with their key:
-- a program of migration 32 that still runs goes on reading and writing them by day, and never meets another exchange's
-- closure. Every other exchange is in the default partition.
ALTER TABLE backfill.bulk_files ADD COLUMN exchange text NOT NULL DEFAULT 'US';
ALTER TABLE backfill.bulk_files DROP CONSTRAINT bulk_files_pkey;
ALTER TABLE backfill.bulk_files ALTER COLUMN day SET NOT NULL, ADD CONSTRAINT bulk_files_day_key UNIQUE (day);
CREATE TABLE backfill.exchange_files (LIKE backfill.bulk_files, PRIMARY KEY (exchange, day)) PARTITION BY LIST (exchange);
ALTER TABLE backfill.exchange_files ATTACH PARTITION backfill.bulk_files FOR VALUES IN ('US');
CREATE TABLE backfill.exchange_files_others PARTITION OF backfill.exchange_files DEFAULT;

ALTER TABLE backfill.closures ADD COLUMN exchange text NOT NULL DEFAULT 'US';
ALTER TABLE backfill.closures DROP CONSTRAINT closures_pkey;
ALTER TABLE backfill.closures ALTER COLUMN day SET NOT NULL, ADD CONSTRAINT closures_day_key UNIQUE (day);
CREATE TABLE backfill.exchange_closures (LIKE backfill.closures, PRIMARY KEY (exchange, day)) PARTITION BY LIST (exchange);
ALTER TABLE backfill.exchange_closures ATTACH PARTITION backfill.closures FOR VALUES IN ('US');
CREATE TABLE backfill.exchange_closures_others PARTITION OF backfill.exchange_closures DEFAULT;

-- Daily files of some exchanges have volumes with a fraction. volume and reported_volume are those rounded up.
ALTER TABLE backfill.daily_prices ADD COLUMN fractional_volume double precision;    -- null: it is whole, or unknown
ALTER TABLE backfill.daily_revisions ADD COLUMN fractional_volume double precision; -- null: it was whole, or unknown

-- Symbols of up to 20 characters where market_symbols is as this program made it. Objects of others that depend on the
-- column, and another owner, keep the 10. What an owner has made longer since it was recorded as ours stays.
DO $$
BEGIN
    IF EXISTS (SELECT FROM backfill.contract_tables WHERE table_name = 'market_symbols' AND is_managed)
       AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'market_symbols'::regclass AND attname = 'symbol'
                   AND format_type(atttypid, atttypmod) = 'character varying(10)') THEN
        ALTER TABLE market_symbols ALTER COLUMN symbol TYPE varchar(20);
    END IF;
EXCEPTION WHEN feature_not_supported OR insufficient_privilege THEN
    RAISE NOTICE 'market_symbols.symbol keeps its length: %', SQLERRM;
END $$;

-- The time zone of the session dates of an exchange, by any of its names in market_symbols. Not in SQL, so that the
-- planner does not plan the lookup in queries of the US alone, which are as fast as before.
CREATE FUNCTION backfill.exchange_zone(exchange_name text) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF exchange_name = 'US' THEN
        RETURN 'America/New_York';
    END IF;
    RETURN coalesce((
        SELECT e.zone
        FROM (SELECT upper(translate(exchange_name COLLATE "C", E' \t\r\n-._', ''))) AS n (name)
        JOIN backfill.exchanges e ON e.exchange = n.name OR n.name = ANY (e.names)
        ORDER BY e.exchange <> n.name LIMIT 1), 'America/New_York');
END $$;

-- The time zone of a symbol's session dates.
CREATE FUNCTION backfill.symbol_zone(for_symbol integer) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN backfill.exchange_zone((SELECT s.exchange FROM market_symbols s WHERE s.symbol_id = for_symbol));
END $$;

-- The session date of a moment and the first moment of a session date at an exchange. Without an exchange the US is meant.
CREATE FUNCTION backfill.session_day(moment timestamptz, exchange_name text) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT (moment AT TIME ZONE backfill.exchange_zone(exchange_name))::date $$;
CREATE FUNCTION backfill.session_day_begin(day date, exchange_name text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT day::timestamp AT TIME ZONE backfill.exchange_zone(exchange_name) $$;

-- What the prices of an exchange count, by any of its names in market_symbols.
CREATE OR REPLACE FUNCTION backfill.price_currency(exchange text) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF exchange IN ('US', 'TA') THEN
        RETURN CASE exchange WHEN 'US' THEN 'USD' ELSE 'ILA' END;
    END IF;
    RETURN coalesce((
        SELECT e.price_unit
        FROM (SELECT upper(translate(price_currency.exchange COLLATE "C", E' \t\r\n-._', ''))) AS n (name)
        JOIN backfill.exchanges e ON e.exchange = n.name OR n.name = ANY (e.names)
        ORDER BY e.exchange <> n.name LIMIT 1), 'USD');
END $$;

-- What a symbol's prices count on a day.
CREATE FUNCTION backfill.price_unit(for_symbol integer, on_day date) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        (SELECT c.price_unit FROM backfill.symbol_currencies c
         WHERE c.symbol_id = for_symbol AND c.valid_from <= on_day ORDER BY c.valid_from DESC LIMIT 1),
        (SELECT backfill.price_currency(s.exchange) FROM market_symbols s WHERE s.symbol_id = for_symbol))
$$;

-- The functions of adjusted bars as in 0028, but by the time zone of the symbol's exchange, and by its own price unit.
-- known_zone is that time zone where the caller knows it; null: it is looked up.
DROP FUNCTION backfill.counted_actions(integer, text, timestamptz);
DROP FUNCTION backfill.unread_actions(integer, text, timestamptz);
DROP FUNCTION backfill.adjustment_arrays(integer, text, timestamptz);
CREATE FUNCTION backfill.counted_actions(
    for_symbol integer, adjustment text DEFAULT 'splits_and_dividends', point_in_time timestamptz DEFAULT NULL,
    known_zone text DEFAULT NULL
)
RETURNS TABLE (instrument_id bigint, listed_as integer, kind text, ex_date date, period text, new_shares numeric,
               old_shares numeric, amount numeric, currency text, cum_day date, cum_close double precision,
               price_factor double precision, missing text, remedy text)
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 20000 ROWS 30 SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    has_cash boolean := adjustment = 'splits_and_dividends';
    known_at timestamptz := coalesce(point_in_time, 'infinity');
    zone text := coalesce(known_zone, backfill.symbol_zone(for_symbol));
    today date := (least(point_in_time, now()) AT TIME ZONE zone)::date;  -- least ignores null
    exchange_unit text;
    has_own_units boolean;
    instruments bigint[] := (SELECT array_agg(DISTINCT l.instrument_id) FROM backfill.listings l
                             WHERE l.symbol_id = for_symbol AND l.withdrawn_at IS NULL);
    tickers integer[] := ARRAY[for_symbol];
BEGIN
    SELECT backfill.price_currency(s.exchange),
           EXISTS (SELECT FROM backfill.symbol_currencies u WHERE u.symbol_id = for_symbol)
      INTO exchange_unit, has_own_units
      FROM market_symbols s WHERE s.symbol_id = for_symbol;
    IF instruments IS NOT NULL THEN
        tickers := (SELECT array_agg(DISTINCT l.symbol_id) FROM backfill.listings l
                    WHERE l.instrument_id = ANY (instruments) AND l.withdrawn_at IS NULL);
    END IF;
    RETURN QUERY
    WITH version AS (
        SELECT 'split' AS kind, a.symbol_id, a.ex_date, '' AS period, a.ratio, a.new_shares, a.old_shares,
               NULL::numeric AS amount, NULL::text AS currency, NULL::date AS cum_day, a.contradiction,
               coalesce(a.revised_at, a.first_seen) AS known_from, a.withdrawn_at AS known_until
        FROM backfill.splits a WHERE a.symbol_id = ANY (tickers) AND a.ex_date <= today
        UNION ALL
        SELECT 'split', a.symbol_id, a.ex_date, '', a.ratio, a.new_shares, a.old_shares, NULL, NULL, NULL,
               a.contradiction, a.known_from, a.known_until
        FROM backfill.split_revisions a WHERE a.symbol_id = ANY (tickers) AND a.ex_date <= today
        UNION ALL
        SELECT 'dividend', a.symbol_id, a.ex_date, a.period, 1, 1, 1, a.amount, a.currency, a.cum_day, a.contradiction,
               coalesce(a.revised_at, a.first_seen), a.withdrawn_at
        FROM backfill.dividends a WHERE has_cash AND a.symbol_id = ANY (tickers) AND a.ex_date <= today
        UNION ALL
        SELECT 'dividend', a.symbol_id, a.ex_date, a.period, 1, 1, 1, a.amount, a.currency, a.cum_day, a.contradiction,
               a.known_from, a.known_until
        FROM backfill.dividend_revisions a WHERE has_cash AND a.symbol_id = ANY (tickers) AND a.ex_date <= today
        UNION ALL
        SELECT 'spin-off', a.symbol_id, a.ex_date, '', a.factor, 1, 1, NULL, NULL, NULL, NULL,
               coalesce(a.revised_at, a.first_seen), a.withdrawn_at
        FROM backfill.spinoffs a WHERE has_cash AND a.symbol_id = ANY (tickers) AND a.ex_date <= today
        UNION ALL
        SELECT 'spin-off', a.symbol_id, a.ex_date, '', a.factor, 1, 1, NULL, NULL, NULL, NULL, a.known_from, a.known_until
        FROM backfill.spinoff_revisions a WHERE has_cash AND a.symbol_id = ANY (tickers) AND a.ex_date <= today
    ), loaded AS (
        SELECT v.*, min(v.known_from) OVER (PARTITION BY v.kind, v.symbol_id, v.ex_date, v.period) AS first_known
        FROM version v WHERE v.known_until IS NULL OR v.known_until > v.known_from
    ), known AS (  -- what was loaded after its ex-date first counts from then on, as it was loaded first
        SELECT DISTINCT ON (l.kind, l.symbol_id, l.ex_date, l.period) l.* FROM loaded l
        WHERE (l.known_from <= known_at AND (l.known_until IS NULL OR known_at < l.known_until))
           OR (known_at < l.first_known AND l.known_from = l.first_known
               AND (l.first_known AT TIME ZONE zone)::date > l.ex_date)
        ORDER BY l.kind, l.symbol_id, l.ex_date, l.period, l.known_from DESC
    ), placed AS (
        SELECT k.*, h.instrument_id, coalesce(h.listed_from, '-infinity') <= k.ex_date AS is_listed
        FROM known k LEFT JOIN LATERAL (
            SELECT l.instrument_id, l.listed_from FROM backfill.listings l
            WHERE instruments IS NOT NULL AND l.symbol_id = k.symbol_id AND l.withdrawn_at IS NULL
              AND coalesce(l.listed_until, 'infinity') >= k.ex_date
            ORDER BY l.listed_until LIMIT 1
        ) h ON true
        WHERE (instruments IS NULL OR h.instrument_id = ANY (instruments))
          AND k.amount IS DISTINCT FROM 0  -- that of a dividend which counted under another date then
    ), merged AS (
        SELECT DISTINCT ON (p.instrument_id, p.kind, p.ex_date, p.period) p.* FROM placed p
        ORDER BY p.instrument_id, p.kind, p.ex_date, p.period, p.is_listed DESC, p.symbol_id
    ), counted AS (  -- of two records of one amount, one may lack the period
        SELECT m.* FROM merged m
        WHERE m.kind <> 'dividend' OR m.period <> '' OR NOT EXISTS (
            SELECT FROM merged o
            WHERE o.kind = 'dividend' AND o.period <> '' AND o.ex_date = m.ex_date AND o.amount = m.amount
              AND o.instrument_id IS NOT DISTINCT FROM m.instrument_id
              AND o.currency IS NOT DISTINCT FROM m.currency)
    ), spinoff AS (  -- those that the vendor's daily rows may be adjusted for, at whatever point in time
        SELECT DISTINCT ON (p.instrument_id, a.ex_date) p.instrument_id, a.ex_date, a.factor
        FROM backfill.spinoffs a LEFT JOIN LATERAL (
            SELECT l.instrument_id, l.listed_from FROM backfill.listings l
            WHERE instruments IS NOT NULL AND l.symbol_id = a.symbol_id AND l.withdrawn_at IS NULL
              AND coalesce(l.listed_until, 'infinity') >= a.ex_date
            ORDER BY l.listed_until LIMIT 1
        ) p ON true
        WHERE has_cash AND a.symbol_id = ANY (tickers) AND a.withdrawn_at IS NULL
        ORDER BY p.instrument_id, a.ex_date, coalesce(p.listed_from, '-infinity') <= a.ex_date DESC, a.symbol_id
    ), priced AS (
        SELECT c.*, d.close_price / u.undone AS cum_close, d.close_price IS NOT NULL AND u.is_unclear AS is_unclear,
               n.price_unit,
               CASE WHEN c.currency IS NULL OR c.currency = n.price_unit THEN c.amount
                    ELSE backfill.convert_currency(c.amount, c.currency, n.price_unit) END AS paid
        FROM counted c
        CROSS JOIN LATERAL (
            SELECT CASE WHEN has_own_units AND c.kind = 'dividend'
                        THEN backfill.price_unit(c.symbol_id, coalesce(c.cum_day, c.ex_date))
                        ELSE exchange_unit END AS price_unit
        ) n
        LEFT JOIN LATERAL (
            SELECT p.close_price, p.read_at FROM backfill.daily_prices p
            WHERE c.kind = 'dividend' AND p.day = c.cum_day AND p.symbol_id = ANY (tickers) AND p.no_row_reason IS NULL
              AND p.close_price > 0 AND (instruments IS NULL OR c.instrument_id IS NOT DISTINCT FROM coalesce(
                    (SELECT l.instrument_id FROM backfill.listings l
                     WHERE l.symbol_id = p.symbol_id AND l.withdrawn_at IS NULL
                       AND c.cum_day BETWEEN coalesce(l.listed_from, '-infinity') AND coalesce(l.listed_until, 'infinity')),
                    CASE WHEN p.symbol_id = c.symbol_id THEN c.instrument_id END))
            ORDER BY p.symbol_id = c.symbol_id LIMIT 1
        ) d ON true
        LEFT JOIN LATERAL (
            SELECT coalesce(exp(sum(ln(s.factor)) FILTER (WHERE (d.read_at AT TIME ZONE zone)::date > s.ex_date)), 1) AS undone,
                   coalesce(bool_or(d.read_at IS NULL OR (d.read_at AT TIME ZONE zone)::date = s.ex_date), false) AS is_unclear
            FROM spinoff s
            WHERE d.close_price IS NOT NULL AND s.ex_date > c.cum_day
              AND s.instrument_id IS NOT DISTINCT FROM c.instrument_id
        ) u ON true
    ), summed AS (  -- the price falls by the sum of a day's dividends
        SELECT p.*, sum(p.paid) OVER (day_of ORDER BY p.period) AS paid_so_far, sum(p.paid) OVER day_of AS paid_in_all
        FROM priced p WINDOW day_of AS (PARTITION BY p.kind, p.instrument_id, p.ex_date, p.cum_close)
    ), judged AS (
        SELECT p.*,  -- a program of before migration 26 writes the ratio alone; older shares may stand beside it
               p.kind <> 'split' OR abs(p.new_shares / p.old_shares - p.ratio::numeric) < p.ratio::numeric / 1000000000
                   AS has_shares,
               CASE WHEN p.contradiction IS NOT NULL THEN 'contradiction'
                         WHEN p.kind <> 'dividend' THEN NULL
                         WHEN p.paid IS NULL THEN 'currency'
                         WHEN p.cum_close IS NULL THEN 'close'
                         WHEN p.is_unclear THEN 'spin-off'
                         WHEN p.paid_in_all >= p.cum_close THEN 'amount' END AS lack
        FROM summed p
    )
    SELECT r.instrument_id, r.symbol_id, r.kind, r.ex_date, r.period,
           CASE WHEN r.has_shares THEN r.new_shares WHEN r.ratio >= 1 THEN r.ratio::numeric ELSE 1 END,
           CASE WHEN r.has_shares THEN r.old_shares WHEN r.ratio >= 1 THEN 1 ELSE (1 / r.ratio)::numeric END,
           r.amount, r.currency, r.cum_day, r.cum_close,
           CASE WHEN r.lack IS NOT NULL THEN NULL
                WHEN r.kind = 'dividend' THEN (1 - r.paid_so_far::float8 / r.cum_close)
                                              / (1 - (r.paid_so_far - r.paid)::float8 / r.cum_close)
                WHEN r.kind = 'spin-off' THEN r.ratio ELSE 1 END,
           CASE r.lack
               WHEN 'contradiction' THEN 'the vendor lists it as ' || r.contradiction
               WHEN 'currency' THEN format('it is paid in %s, and prices are in %s', r.currency, r.price_unit)
               WHEN 'close' THEN format('the daily close of %s is not stored', r.cum_day)
               WHEN 'spin-off' THEN
                   format('the daily close of %s may have been read before or after a spin-off', r.cum_day)
               WHEN 'amount' THEN format('%s %s are not below the close of %s, %s', trim_scale(r.paid_in_all), r.price_unit,
                                         r.cum_day, r.cum_close) END,
           CASE r.lack
               WHEN 'contradiction' THEN 'It counts as soon as the vendor lists only one of them.'
               WHEN 'currency' THEN 'Amounts of another currency are not converted.'
               WHEN 'close' THEN 'It is requested with the daily data (BACKFILL_DAILY_DATA).'
               WHEN 'spin-off' THEN 'That is known when the row is read again.'
               WHEN 'amount' THEN 'One of them is wrong; it counts when the vendor corrects it.' END
           || CASE WHEN r.kind = 'split' THEN ' Until then use the adjustment ''none''.'
                   WHEN r.lack IS NOT NULL THEN ' The adjustment ''splits'' does without it.' END
    FROM judged r
    ORDER BY r.instrument_id, r.ex_date DESC, r.kind, r.period;
END $$;

CREATE FUNCTION backfill.unread_actions(
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
    ) u WHERE u.known_after > '1900-01-01'
$$;

CREATE FUNCTION backfill.adjustment_arrays(
    for_symbol integer, adjustment text, point_in_time timestamptz, known_zone text DEFAULT NULL
)
RETURNS TABLE (begins timestamptz[], old_shares double precision[], new_shares double precision[],
               cash_factor double precision[], zone text)
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 40000 ROWS 1 SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
    life record;
    action record;
    days date[] := '{}';
    next_day date;  -- the first day of what is in the arrays already
    old_product numeric;
    new_product numeric;
    cash_product double precision;
    is_split_missing boolean;
    digits integer;
    divisor numeric;
BEGIN
    old_shares := '{}';
    new_shares := '{}';
    cash_factor := '{}';
    zone := coalesce(known_zone, backfill.symbol_zone(for_symbol));
    IF adjustment = 'none' THEN
        RETURN QUERY SELECT ARRAY['-infinity'::timestamptz], ARRAY[1::float8], ARRAY[1::float8], ARRAY[1::float8],
                            zone;
        RETURN;
    END IF;
    FOR life IN  -- newest first; a symbol without listings is one instrument on all days
        SELECT l.instrument_id, coalesce(l.listed_from, '-infinity') AS first_day,
               coalesce(l.listed_until, 'infinity') AS last_day
        FROM backfill.listings l WHERE l.symbol_id = for_symbol AND l.withdrawn_at IS NULL
        UNION ALL
        SELECT NULL, '-infinity', 'infinity'
        WHERE NOT EXISTS (SELECT FROM backfill.listings l WHERE l.symbol_id = for_symbol AND l.withdrawn_at IS NULL)
        ORDER BY 2 DESC
    LOOP
        IF life.last_day < 'infinity' AND (next_day IS NULL OR life.last_day + 1 < next_day) THEN
            days := life.last_day + 1 || days;  -- no instrument, no actions
            old_shares := 1::float8 || old_shares;
            new_shares := 1::float8 || new_shares;
            cash_factor := 1::float8 || cash_factor;
        END IF;
        old_product := 1;
        new_product := 1;
        cash_product := 1;
        is_split_missing := false;
        FOR action IN
            SELECT a.ex_date, a.new_shares, a.old_shares, a.price_factor, a.missing IS NOT NULL AS is_missing,
                   a.kind = 'split' AS is_split
            FROM backfill.counted_actions(for_symbol, adjustment, point_in_time, zone) a
            WHERE a.instrument_id IS NOT DISTINCT FROM life.instrument_id AND a.ex_date > life.first_day
            UNION ALL
            SELECT u.until_day, 1, 1, 1, true, u.kind = 'splits'
            FROM backfill.unread_actions(for_symbol, adjustment, point_in_time, zone) u
            WHERE u.instrument_id IS NOT DISTINCT FROM life.instrument_id AND u.until_day > life.first_day
            UNION ALL
            SELECT life.first_day, 1, 1, 1, false, false
            ORDER BY 1 DESC
        LOOP
            IF action.ex_date <= life.last_day AND action.ex_date IS DISTINCT FROM days[1] THEN
                digits := greatest(scale(trim_scale(old_product)), scale(trim_scale(new_product)));
                divisor := gcd(old_product * 10::numeric ^ digits, new_product * 10::numeric ^ digits);
                days := action.ex_date || days;
                old_shares := CASE WHEN is_split_missing THEN 'NaN'
                                   ELSE old_product * 10::numeric ^ digits / divisor END::float8 || old_shares;
                new_shares := (new_product * 10::numeric ^ digits / divisor)::float8 || new_shares;
                cash_factor := cash_product || cash_factor;
            END IF;
            old_product := old_product * action.old_shares;
            new_product := new_product * action.new_shares;
            cash_product := cash_product * CASE WHEN action.is_missing THEN 'NaN' ELSE action.price_factor END;
            is_split_missing := is_split_missing OR action.is_missing AND action.is_split;
        END LOOP;
        next_day := life.first_day;
    END LOOP;
    IF next_day > '-infinity' THEN
        days := '-infinity'::date || days;
        old_shares := 1::float8 || old_shares;
        new_shares := 1::float8 || new_shares;
        cash_factor := 1::float8 || cash_factor;
    END IF;
    begins := ARRAY(SELECT d.day::timestamp AT TIME ZONE zone FROM unnest(days) WITH ORDINALITY AS d (day, position)
                    ORDER BY d.position);
    RETURN NEXT;
END $$;

CREATE OR REPLACE FUNCTION backfill.raise_missing_factor(
    for_symbol integer, bar_time timestamptz, adjustment text, point_in_time timestamptz
) RETURNS double precision LANGUAGE plpgsql STABLE PARALLEL SAFE COST 40000 AS $$
DECLARE
    bar_day date := (bar_time AT TIME ZONE backfill.symbol_zone(for_symbol))::date;
    ticker text := (SELECT s.symbol || coalesce('.' || (
                        SELECT e.exchange
                        FROM (SELECT upper(translate(s.exchange COLLATE "C", E' \t\r\n-._', ''))) AS n (name)
                        JOIN backfill.exchanges e ON e.exchange = n.name OR n.name = ANY (e.names)
                        WHERE e.exchange <> 'US' ORDER BY e.exchange <> n.name LIMIT 1), '')
                    FROM market_symbols s WHERE s.symbol_id = for_symbol);
    instrument bigint := (SELECT l.instrument_id FROM backfill.listings l
                          WHERE l.symbol_id = for_symbol AND l.withdrawn_at IS NULL
                            AND bar_day BETWEEN coalesce(l.listed_from, '-infinity') AND coalesce(l.listed_until, 'infinity'));
    lacking record;
BEGIN
    SELECT * INTO lacking FROM (
        SELECT a.kind, a.ex_date, a.missing, a.remedy
        FROM backfill.counted_actions(for_symbol, adjustment, point_in_time) a
        WHERE a.missing IS NOT NULL AND a.instrument_id IS NOT DISTINCT FROM instrument
        UNION ALL
        SELECT u.kind, u.until_day, u.missing, u.remedy
        FROM backfill.unread_actions(for_symbol, adjustment, point_in_time) u
        WHERE u.instrument_id IS NOT DISTINCT FROM instrument
    ) l WHERE l.ex_date > bar_day ORDER BY l.ex_date LIMIT 1;
    RAISE EXCEPTION '% before % cannot be adjusted for its %: %', ticker, lacking.ex_date, lacking.kind, lacking.missing
        USING ERRCODE = 'BF001', HINT = lacking.remedy;
END $$;

DO $create$
DECLARE
    id_type text := (SELECT format_type(atttypid, NULL) FROM pg_attribute
                     WHERE attrelid = 'market_symbols'::regclass AND attname = 'symbol_id');
BEGIN
    EXECUTE format($definition$
CREATE OR REPLACE FUNCTION backfill.adjustment_factors(adjustment text, point_in_time timestamptz DEFAULT NULL)
RETURNS TABLE (symbol_id %s, first_day date, last_day date, price_factor double precision,
               volume_factor double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT s.symbol_id, nullif((i.begin_at AT TIME ZONE f.zone)::date, '-infinity'),
           (f.begins[i.position + 1] AT TIME ZONE f.zone)::date - 1,
           nullif(i.old_shares / i.new_shares * i.cash_factor, 'NaN'), nullif(i.new_shares / i.old_shares, 'NaN')
    FROM market_symbols s
    CROSS JOIN LATERAL backfill.adjustment_arrays(
        s.symbol_id::integer, adjustment, point_in_time, backfill.exchange_zone(s.exchange)) f
    CROSS JOIN LATERAL unnest(f.begins, f.old_shares, f.new_shares, f.cash_factor) WITH ORDINALITY
        AS i (begin_at, old_shares, new_shares, cash_factor, position)
    WHERE backfill.require_adjustment(adjustment)
$$;
    $definition$, id_type);
    EXECUTE format($definition$
CREATE OR REPLACE FUNCTION backfill.adjusted_bars(adjustment text, point_in_time timestamptz DEFAULT NULL)
RETURNS TABLE (symbol_id %s, interval_type text, "timestamp" timestamptz, session_day date,
               open_price double precision, high_price double precision, low_price double precision,
               close_price double precision, volume double precision, source text, source_interval text,
               source_rows integer, is_final boolean, fetched_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000000 AS $$
    SELECT s.symbol_id, d.interval_type::text, d."timestamp", (d."timestamp" AT TIME ZONE f.zone)::date,
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
    CROSS JOIN LATERAL (
        SELECT m.interval_type, m."timestamp", m.open_price, m.high_price, m.low_price, m.close_price, m.volume,
               m.source, m.source_interval, m.source_rows, m.is_final, m.fetched_at,
               backfill.find_position(m."timestamp", f.begins) AS n
        FROM market_data m WHERE m.symbol_id = s.symbol_id
    ) d
    WHERE backfill.require_adjustment(adjustment)
$$;
    $definition$, id_type);
END $create$;

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['exchanges', 'symbol_currencies', 'session_fingerprints', 'exchange_files',
                                'exchange_files_others', 'exchange_closures', 'exchange_closures_others']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
