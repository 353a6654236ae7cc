"""Query results as numpy arrays, whatever integer type an existing table has."""

import numpy as np
import pytest

from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Database


@pytest.mark.parametrize("sql_type", ["smallint", "integer", "bigint"])
def test_integers_of_any_width_are_read(database: Database, sql_type: str) -> None:
    with database.transaction() as connection:
        query = f"SELECT n::{sql_type} AS symbol_id FROM generate_series(-1, 2) AS n ORDER BY n"
        found = read_columns(connection, query, {}, {"symbol_id": ">i4"})
        none = read_columns(connection, f"SELECT 1::{sql_type} AS symbol_id WHERE false", {}, {"symbol_id": ">i4"})
    assert found["symbol_id"].tolist() == [-1, 0, 1, 2]
    assert found["symbol_id"].dtype == none["symbol_id"].dtype == np.int32
    assert none["symbol_id"].size == 0


@pytest.mark.parametrize("sql_type", ["real", "double precision"])
def test_floating_point_numbers_are_read(database: Database, sql_type: str) -> None:
    with database.transaction() as connection:
        query = f"SELECT n::{sql_type} AS price FROM unnest(ARRAY[0.5, 'NaN', -2]) AS n"
        found = read_columns(connection, query, {}, {"price": ">f8"})
    assert found["price"].dtype == np.float64
    assert np.array_equal(found["price"], [0.5, np.nan, -2.0], equal_nan=True)
