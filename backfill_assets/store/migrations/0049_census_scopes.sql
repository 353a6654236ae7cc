-- readable since: 9
--
-- What the census must know beside the counts of bars: for which calendar and rules its expected bars were computed, and
-- what became known of absent bars since they were explained.

-- What the expected bars in census_months were computed for. A symbol whose calendar, listing, first day or rules are
-- others by now has to be computed again; until then its months say nothing.
CREATE TABLE backfill.census_scopes (
    symbol_id        integer NOT NULL,
    interval_type    text    NOT NULL,   -- this program's name of the interval
    through_month    date    NOT NULL,   -- the newest month that was over
    expected         bigint  NOT NULL,   -- bars of all months until then
    expected_squares bigint  NOT NULL,   -- the sum of the squares of their minutes, as in census_months
    basis            bigint  NOT NULL,   -- a hash of the rules that absent bars are judged by
    PRIMARY KEY (symbol_id, interval_type)
);

-- What became known of symbols since their absent bars were explained. Writers only add rows, and wait for nobody; a step
-- in the background takes them away, and the explanations with them.
CREATE TABLE backfill.evidence_changes (
    symbol_id integer NOT NULL,
    since_day date    NOT NULL              -- the oldest session it says something of; '-infinity': of all
);

-- Writes what a statement changed: which columns count, and of which session they are, are arguments of the trigger.
CREATE FUNCTION backfill.note_evidence_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen text := 'SELECT symbol_id, ' || TG_ARGV[0] || ' AS since_day, ' || TG_ARGV[1] || ' FROM ';
    of_rows text := CASE TG_OP WHEN 'INSERT' THEN chosen || 'new_rows' WHEN 'DELETE' THEN chosen || 'old_rows'
                    ELSE format('(%1$s new_rows EXCEPT %1$s old_rows) UNION ALL (%1$s old_rows EXCEPT %1$s new_rows)',
                                chosen) END;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM backfill.census_scopes;  -- all are computed again, and explained again
        RETURN NULL;
    END IF;
    EXECUTE format('INSERT INTO backfill.evidence_changes SELECT symbol_id, min(since_day) FROM (%s) c GROUP BY 1',
                   of_rows);
    RETURN NULL;
END $$;

DO $$
DECLARE
    noted record;
BEGIN
    FOR noted IN
        SELECT * FROM (VALUES
            ('session_evidence', 'session_day',
             'interval_type, source_interval, requested_at, request_count, no_new_data_since, data_until, is_published,'
             ' published_at, not_returned'),
            ('daily_prices', 'day', 'volume > 0, reported_volume IS NULL, read_at IS NULL, no_row_reason'),
            ('halts', 'session_day', 'interval_type, timestamp, state'),
            ('rejects', '("timestamp" - interval ''1 day'')::date',
             '"timestamp", reason = ''refused_by_table'' AND resolved_at IS NULL'),
            ('listing_lives', '''-infinity''::date', 'first_day, last_day, has_ended'),
            ('listings', '''-infinity''::date', 'listed_from, listed_until, recorded_at, withdrawn_at'),
            ('unserved_symbols', '''-infinity''::date', 'found_at, ended_at')
        ) AS n (relation, day, columns)
    LOOP
        EXECUTE format('CREATE TRIGGER note_insert AFTER INSERT ON backfill.%I REFERENCING NEW TABLE AS new_rows'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION backfill.note_evidence_change(%L, %L)',
                       noted.relation, noted.day, noted.columns);
        EXECUTE format('CREATE TRIGGER note_update AFTER UPDATE ON backfill.%I REFERENCING OLD TABLE AS old_rows'
                       ' NEW TABLE AS new_rows FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION backfill.note_evidence_change(%L, %L)',
                       noted.relation, noted.day, noted.columns);
        EXECUTE format('CREATE TRIGGER note_delete AFTER DELETE ON backfill.%I REFERENCING OLD TABLE AS old_rows'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION backfill.note_evidence_change(%L, %L)',
                       noted.relation, noted.day, noted.columns);
        EXECUTE format('CREATE TRIGGER note_truncate AFTER TRUNCATE ON backfill.%I FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION backfill.note_evidence_change(%L, %L)',
                       noted.relation, noted.day, noted.columns);
    END LOOP;
END $$;

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.privilege_type AS privilege, made.relation,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['census_scopes', 'evidence_changes']) AS made (relation)
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.relation, granted.grantee);
    END LOOP;
END $$;
