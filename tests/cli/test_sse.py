"""Server-sent events are read whole, however they are cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.cli import sse
from tunewatch.cli.sse import Block, blocks

SENT = (
    "retry: 2000\nid: 1-a\n\n: all is well\n\n"
    'id: 2-b\ndata: {"é": 1}\n\nevent: reset\ndata: {}\nid: 9-c\n\r\n'
    "data: one\r\ndata: two\r\n\r\ndata: cut off"
).encode()
READ = [
    Block("1-a", "message", ""),
    Block(None, "message", ""),
    Block("2-b", "message", '{"é": 1}'),
    Block("9-c", "reset", "{}"),
    Block(None, "message", "one\ntwo"),
]


async def read(pieces):
    async def sent():
        for piece in pieces:
            yield piece

    return [block async for block in blocks(sent())]


@given(st.lists(st.integers(0, len(SENT)), max_size=20))
async def test_blocks_do_not_depend_on_where_they_are_cut(cuts):
    ends = [0, *sorted(cuts), len(SENT)]
    pieces = [SENT[a:b] for a, b in itertools.pairwise(ends)]
    assert await read(pieces) == READ


async def test_a_line_without_end_is_given_up():
    with pytest.raises(ValueError, match="without end"):
        await read([b"x" * (sse.LONGEST // 2)] * 3)
