-- readable since: 9
--
-- Bars adjusted for splits, dividends and spin-offs, computed when they are read. Raw bars never change, and adjusted
-- ones are stored nowhere.

-- The session date of a moment: the date in the exchange's time zone. All exchanges so far are in New York.
CREATE FUNCTION backfill.session_day(moment timestamptz) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (moment AT TIME ZONE 'America/New_York')::date;

-- The first moment of a session date, midnight in the exchange's time zone; the inverse of session_day.
CREATE FUNCTION backfill.session_day_begin(day date) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN day::timestamp AT TIME ZONE 'America/New_York';

-- True for a known adjustment; fails for anything else.
CREATE FUNCTION backfill.require_adjustment(adjustment text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF adjustment IS NULL OR adjustment NOT IN ('none', 'splits', 'splits_and_dividends') THEN
        RAISE EXCEPTION 'there is no adjustment %', coalesce(quote_literal(adjustment), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Use ''none'', ''splits'' or ''splits_and_dividends''.';
    END IF;
    RETURN true;
END $$;

-- The currency of an exchange's prices, by the vendor's code. Prices in pence and the like have a code of their own.
CREATE FUNCTION backfill.price_currency(exchange text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE exchange WHEN 'LSE' THEN 'GBX' WHEN 'JSE' THEN 'ZAC' WHEN 'TA' THEN 'ILA' ELSE 'USD' END;

-- An amount in another unit of the same currency, such as pounds in pence; null if the currencies differ. GBp is GBX.
CREATE FUNCTION backfill.convert_currency(amount numeric, from_currency text, to_currency text)
RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN max(unit.currency) = min(unit.currency)
                THEN amount * max(unit.size) FILTER (WHERE unit.is_from) / max(unit.size) FILTER (WHERE NOT unit.is_from)
           END
    FROM (SELECT code.is_from,
                 CASE WHEN code.name = 'GBp' OR upper(code.name) = 'GBX' THEN 'GBP' WHEN upper(code.name) = 'ZAC' THEN 'ZAR'
                      WHEN upper(code.name) = 'ILA' THEN 'ILS' ELSE upper(code.name) END AS currency,
                 CASE WHEN code.name = 'GBp' OR upper(code.name) IN ('GBX', 'ZAC', 'ILA') THEN 0.01 ELSE 1 END AS size
          FROM (VALUES (true, from_currency), (false, to_currency)) AS code (is_from, name)) AS unit
$$;

-- The actions that count at a point in time for the instruments that a symbol named, as far as an adjustment needs them:
-- of each action the version that was known then, of several tickers' records of one action that of the ticker listed on
-- the day. Null, or a moment in the future: what holds now. new_shares and old_shares are 1 but for splits, price_factor
-- is 1 for splits. Of several dividends of one day each has its share of the day's factor, in the order of their
-- periods: what it leaves of what those before it left. An action without a factor says in missing why, and in remedy
-- what to do.
CREATE FUNCTION backfill.counted_actions(
    for_symbol integer, adjustment text DEFAULT 'splits_and_dividends', point_in_time timestamptz DEFAULT NULL
)
RETURNS TABLE (instrument_id bigint, listed_as integer, kind text, ex_date date, period text, new_shares numeric,
               old_shares numeric, amount numeric, currency text, cum_day date, cum_close double precision,
               price_factor double precision, missing text, remedy text)
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 20000 ROWS 30 SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    has_cash boolean := adjustment = 'splits_and_dividends';
    known_at timestamptz := coalesce(point_in_time, 'infinity');
    today date := backfill.session_day(least(point_in_time, now()));  -- least ignores null
    instruments bigint[] := (SELECT array_agg(DISTINCT l.instrument_id) FROM backfill.listings l
                             WHERE l.symbol_id = for_symbol AND l.withdrawn_at IS NULL);
    tickers integer[] := ARRAY[for_symbol];
    price_unit text := (SELECT backfill.price_currency(s.exchange) FROM market_symbols s WHERE s.symbol_id = for_symbol);
BEGIN
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
               AND backfill.session_day(l.first_known) > l.ex_date)
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
               CASE WHEN c.currency IS NULL OR c.currency = price_unit THEN c.amount
                    ELSE backfill.convert_currency(c.amount, c.currency, price_unit) END AS paid
        FROM counted c
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
            SELECT coalesce(exp(sum(ln(s.factor)) FILTER (WHERE backfill.session_day(d.read_at) > s.ex_date)), 1) AS undone,
                   coalesce(bool_or(d.read_at IS NULL OR backfill.session_day(d.read_at) = s.ex_date), false) AS is_unclear
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
               WHEN 'currency' THEN format('it is paid in %s, and prices are in %s', r.currency, price_unit)
               WHEN 'close' THEN format('the daily close of %s is not stored', r.cum_day)
               WHEN 'spin-off' THEN
                   format('the daily close of %s may have been read before or after a spin-off', r.cum_day)
               WHEN 'amount' THEN format('%s %s are not below the close of %s, %s', trim_scale(r.paid_in_all), price_unit,
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

-- For which days it is not known which actions took effect: those before until_day, by instrument. A list that was read
-- says all since 1900. That of an instrument's newest ticker says what came last; that of an earlier one only what took
-- effect while it was the ticker.
CREATE FUNCTION backfill.unread_actions(
    for_symbol integer, adjustment text DEFAULT 'splits_and_dividends', point_in_time timestamptz DEFAULT NULL
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
    SELECT u.instrument_id, u.kind, least(u.known_after, backfill.session_day(least(point_in_time, now()))),
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

-- What a symbol's bars are adjusted by, as arrays: those from begins[i] on, before begins[i + 1], by old_shares[i] /
-- new_shares[i] * cash_factor[i]. Shares are the smallest whole numbers. NaN: a factor is missing.
CREATE FUNCTION backfill.adjustment_arrays(for_symbol integer, adjustment text, point_in_time timestamptz)
RETURNS TABLE (begins timestamptz[], old_shares double precision[], new_shares double precision[],
               cash_factor double precision[])
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
    IF adjustment = 'none' THEN
        RETURN QUERY SELECT ARRAY['-infinity'::timestamptz], ARRAY[1::float8], ARRAY[1::float8], ARRAY[1::float8];
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
            FROM backfill.counted_actions(for_symbol, adjustment, point_in_time) a
            WHERE a.instrument_id IS NOT DISTINCT FROM life.instrument_id AND a.ex_date > life.first_day
            UNION ALL
            SELECT u.until_day, 1, 1, 1, true, u.kind = 'splits'
            FROM backfill.unread_actions(for_symbol, adjustment, point_in_time) u
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
    begins := ARRAY(SELECT backfill.session_day_begin(d.day) FROM unnest(days) WITH ORDINALITY AS d (day, position)
                    ORDER BY d.position);
    RETURN NEXT;
END $$;

-- The position in ascending moments of the last one that is not after a moment. Declared volatile, so that the planner
-- keeps the subquery of adjusted_bars that calls it: the position is found once for each bar, and a symbol's arrays are
-- computed before its bars are read, and not for each of them, whatever the planner expects.
CREATE FUNCTION backfill.find_position(moment timestamptz, begins timestamptz[]) RETURNS integer
LANGUAGE sql VOLATILE PARALLEL SAFE RETURN width_bucket(moment, begins);

-- Fails with what a bar's adjustment lacks: the first action after it that has no factor.
CREATE FUNCTION backfill.raise_missing_factor(
    for_symbol integer, bar_time timestamptz, adjustment text, point_in_time timestamptz
) RETURNS double precision LANGUAGE plpgsql STABLE PARALLEL SAFE COST 40000 AS $$
DECLARE
    bar_day date := backfill.session_day(bar_time);
    ticker text := (SELECT s.symbol FROM market_symbols s WHERE s.symbol_id = for_symbol);
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

-- By what the bars of each symbol are adjusted: one row for the session dates from first_day to last_day, null being
-- open. A null factor is missing. And the bars themselves. symbol_id has the type that the table has.
DO $create$
DECLARE
    id_type text := (SELECT format_type(atttypid, NULL) FROM pg_attribute
                     WHERE attrelid = 'market_symbols'::regclass AND attname = 'symbol_id');
BEGIN
    EXECUTE format($definition$
CREATE FUNCTION backfill.adjustment_factors(adjustment text, point_in_time timestamptz DEFAULT NULL)
RETURNS TABLE (symbol_id %s, first_day date, last_day date, price_factor double precision,
               volume_factor double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT s.symbol_id, nullif(backfill.session_day(i.begin_at), '-infinity'),
           backfill.session_day(f.begins[i.position + 1]) - 1,
           nullif(i.old_shares / i.new_shares * i.cash_factor, 'NaN'), nullif(i.new_shares / i.old_shares, 'NaN')
    FROM market_symbols s
    CROSS JOIN LATERAL backfill.adjustment_arrays(s.symbol_id::integer, adjustment, point_in_time) f
    CROSS JOIN LATERAL unnest(f.begins, f.old_shares, f.new_shares, f.cash_factor) WITH ORDINALITY
        AS i (begin_at, old_shares, new_shares, cash_factor, position)
    WHERE backfill.require_adjustment(adjustment)
$$;
    $definition$, id_type);
    EXECUTE format($definition$
CREATE FUNCTION backfill.adjusted_bars(adjustment text, point_in_time timestamptz DEFAULT NULL)
RETURNS TABLE (symbol_id %s, interval_type text, "timestamp" timestamptz, session_day date,
               open_price double precision, high_price double precision, low_price double precision,
               close_price double precision, volume double precision, source text, source_interval text,
               source_rows integer, is_final boolean, fetched_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000000 AS $$
    SELECT s.symbol_id, d.interval_type::text, d."timestamp", backfill.session_day(d."timestamp"),
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
    CROSS JOIN LATERAL backfill.adjustment_arrays(s.symbol_id::integer, adjustment, point_in_time) f
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
