-- readable since: 9
--
-- The vendor's word that a token's calls of the day are used up. Until midnight UTC no calls are left, whatever the
-- account endpoint counts: its counter may lag. Only a higher daily limit, or (where purchased calls may be spent) more
-- purchased calls than the account had when the vendor said it, make calls available again.

ALTER TABLE backfill.budget
    ADD COLUMN refused_on      date,         -- the UTC day on which the vendor said that the calls are used up
    ADD COLUMN refused_at      timestamptz,
    ADD COLUMN refused_message text,         -- the vendor's words
    ADD COLUMN refused_limit   integer,      -- the account's daily limit at that time
    ADD COLUMN refused_extra   integer;      -- the account's purchased calls at that time

CREATE FUNCTION backfill.is_day_used_up(token_budget backfill.budget, p_day date, spend_extra boolean)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(token_budget.refused_on = p_day, false)
       AND NOT coalesce(token_budget.account_limit > token_budget.refused_limit, false)
       AND NOT (spend_extra AND coalesce(token_budget.account_extra > token_budget.refused_extra, false))
$$;

-- Calls left for the backfill on a UTC day.
CREATE OR REPLACE FUNCTION backfill.backfill_calls_left(
    token_budget backfill.budget, p_day date, configured_daily_calls integer, reserve double precision,
    spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN backfill.is_day_used_up(token_budget, p_day, spend_extra) THEN 0 ELSE
           backfill.calls_allotted(token_budget, configured_daily_calls, reserve, spend_extra)
         - backfill.calls_spent(token_budget, p_day)
         - backfill.live_calls_reserved(token_budget, p_day, configured_daily_calls, reserve, spend_extra) END
$$;

-- Calls left for live sampling on a UTC day.
CREATE OR REPLACE FUNCTION backfill.live_calls_left(
    token_budget backfill.budget, p_day date, configured_daily_calls integer, reserve double precision,
    spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN backfill.is_day_used_up(token_budget, p_day, spend_extra) THEN 0 ELSE
           least(backfill.live_calls_reserved(token_budget, p_day, configured_daily_calls, reserve, spend_extra),
                 backfill.calls_allotted(token_budget, configured_daily_calls, reserve, spend_extra)
                 - backfill.calls_spent(token_budget, p_day)) END
$$;

-- Of the finding "plan limited": how many days back the shortest limited request reached. An answer without a remark
-- that reaches as far back shows that the limit is gone.
ALTER TABLE backfill.findings ADD COLUMN reach_days integer;
