"""A PostgreSQL that is to show a certificate, and what is missing here for that."""

from __future__ import annotations

import pytest

from support.program import Program
from support.receiver_server import free_port
from support.running import configure, ended, running

WANTED = ("sslrootcert", "~/.postgresql/root.crt", "verify-full")


@pytest.fixture
def program(tmp_path):
    made = Program(tmp_path)
    made.environ["HOME"] = str(tmp_path)  # where no such file is
    return made


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_authorities_that_are_missing_are_named_with_where_they_belong(
    program, mode
):
    configure(
        program,
        '[sources.a]\napi_key = "k"\nbase_url = "http://127.0.0.1:1/v1"\n',
        state=f"postgresql://u@127.0.0.1:{free_port()}/db?sslmode={mode}",
    )
    done = await ended(program, "check")
    assert done.code != 0
    for part in WANTED:
        assert part in done.out + done.err, done
    async with running(program, wait=False) as daemon:
        told = await daemon.logged("store.away")
        for part in WANTED:
            assert part in told["reason"]
        assert await daemon.stop() == 0
