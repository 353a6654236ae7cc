-- readable since: 9
--
-- Bars that market_data refuses, and revisions of bars of other programs, whose values may be null or not whole.

ALTER TABLE backfill.revisions
    ALTER COLUMN open_price DROP NOT NULL,
    ALTER COLUMN high_price DROP NOT NULL,
    ALTER COLUMN low_price DROP NOT NULL,
    ALTER COLUMN close_price DROP NOT NULL,
    ALTER COLUMN volume DROP NOT NULL,
    ALTER COLUMN volume TYPE numeric;

-- A refused bar is kept as a reject with the reason refused_by_table. These columns are null for source rows.
ALTER TABLE backfill.rejects
    ADD COLUMN interval_type text,          -- of the bar; timestamp is the start of its slot
    ADD COLUMN refused_by    text,          -- the constraint, the trigger's function, or what the database calls the fault
    ADD COLUMN message       text,          -- the database's words
    ADD COLUMN resolved_at   timestamptz;   -- null: market_data still lacks the bar
CREATE INDEX rejects_refused ON backfill.rejects ("timestamp")
    WHERE reason = 'refused_by_table' AND resolved_at IS NULL;

ALTER TABLE backfill.contract_tables
    ADD COLUMN warnings text[] NOT NULL DEFAULT '{}';  -- what the table may refuse or change, when it was taken over

-- Which bars of the temporary table candidate_bars market_data refuses, with the words of the database. Inserts them in
-- pieces, which are halved after a failure and doubled after a success. The caller rolls back what was inserted, and
-- decides by sql_state and error_context whether a failure concerns the bar.
CREATE FUNCTION backfill.find_refused_bars(longest_piece integer)
RETURNS TABLE (bar_symbol_id integer, bar_epoch bigint, sql_state text, constraint_label text, error_message text,
               error_detail text, error_context text)
LANGUAGE plpgsql AS $$
DECLARE
    piece_start integer := 1;
    piece_size integer := longest_piece;
    last_position integer := (SELECT max(c.position) FROM candidate_bars c);
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    WHILE piece_start <= last_position LOOP
        BEGIN
            INSERT INTO market_data (symbol_id, interval_type, "timestamp", open_price, high_price, low_price,
                close_price, volume, source, source_interval, source_rows, is_final, fetched_at)
            SELECT c.symbol_id, c.spelling, c.stamp, c.open_price, c.high_price, c.low_price,
                c.close_price, c.volume, c.source, c.source_interval, c.source_rows, c.is_final, clock_timestamp()
            FROM candidate_bars c WHERE c.position >= piece_start AND c.position < piece_start + piece_size
            ON CONFLICT (symbol_id, interval_type, "timestamp") DO UPDATE SET
                open_price = EXCLUDED.open_price, high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price,
                close_price = EXCLUDED.close_price, volume = EXCLUDED.volume, source = EXCLUDED.source,
                source_interval = EXCLUDED.source_interval, source_rows = EXCLUDED.source_rows,
                is_final = EXCLUDED.is_final, fetched_at = EXCLUDED.fetched_at;
            piece_start := piece_start + piece_size;
            piece_size := least(2 * piece_size, longest_piece);
        EXCEPTION WHEN OTHERS THEN
            IF piece_size > 1 THEN
                piece_size := piece_size / 2;
                CONTINUE;
            END IF;
            GET STACKED DIAGNOSTICS sql_state = RETURNED_SQLSTATE, constraint_label = CONSTRAINT_NAME,
                error_message = MESSAGE_TEXT, error_detail = PG_EXCEPTION_DETAIL,
                error_context = PG_EXCEPTION_CONTEXT;
            SELECT c.symbol_id, extract(epoch FROM c.stamp)::bigint INTO bar_symbol_id, bar_epoch
            FROM candidate_bars c WHERE c.position = piece_start;
            RETURN NEXT;
            piece_start := piece_start + 1;
        END;
    END LOOP;
END $$;
