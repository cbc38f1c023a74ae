"""Three replicas share the sources, behind a real pgbouncer that pools transactions."""

from __future__ import annotations

import time

import pytest

from support.pgbouncer import SESSIONS, pgbouncer


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_three_replicas_behind_a_pgbouncer_share_and_roll_and_lose_nothing(
    staged, postgres, postgres_url, track_record
):
    began = time.monotonic()
    with pgbouncer(postgres) as between:
        async with staged(through=between.url) as scene:
            await scene.begin()
            even = await scene.shared_evenly()
            # One after the other, under load, as Kubernetes does.
            handed = []
            for one in scene.replicas:
                handed.append(await scene.end(one))
                await scene.begin(one)
            await scene.shared_evenly()
            await scene.play_out()
            left = left_behind(between, postgres_url)
            books = await scene.close()
            track_record(
                "3 replicas, pgbouncer, rolled",
                **scene.figures(books)
                | {
                    "runs": len(handed),
                    "repeated": scene.receiver.repeats.total(),
                    "recovered in": f"shared evenly in {even:.1f} s; handed over in"
                    f" {max(handed):.1f} s at most",
                },
                seconds=round(time.monotonic() - began),
            )
            scene.acquit(books)
    assert left == {question: {plain} for question, plain in SESSION.items()}
    assert scene.receiver.repeats.total() == 0


SESSION = {
    "SELECT count(*) FROM pg_prepared_statements": "0",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'": "0",
    "SELECT count(*) FROM pg_listening_channels()": "0",
    "SELECT count(*) FROM pg_cursors": "0",
    "SHOW statement_timeout": "0",
    "SHOW lock_timeout": "0",
    "SHOW idle_in_transaction_session_timeout": "0",
    "SHOW default_transaction_isolation": "read committed",
    "SHOW default_transaction_read_only": "off",
}
"""What a session is asked for, and how it answers if nobody has changed it."""


def left_behind(between, state):
    """Return how the sessions that everybody uses answer."""
    return {
        question: {between.run(question, state)[0] for _ in range(2 * SESSIONS)}
        for question in SESSION
    }
