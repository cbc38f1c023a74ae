from __future__ import annotations

import json

import pytest

from support.scripted_api import Reply, answer, job, listing, scripted_api, source_at
from tunewatch.sources.contract import Page, RawJob, Unreadable


async def jobs_of(
    reply: Reply, *, after: str | None = None, limit: int = 100
) -> Page[RawJob]:
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs", reply)
        page = await it.source.list_jobs(after=after, limit=limit)
        assert it.calls[-1].malformed == page.malformed
        return page


async def test_jobs_come_as_they_were_sent_with_a_digest_each() -> None:
    body = b'{"data": [ {"id":"b" , "x":1.0} ,{"id": "a"}], "has_more": false}'
    page = await jobs_of(Reply(body=body))
    assert [item.raw for item in page.items] == [
        b'{"id":"b" , "x":1.0}',
        b'{"id": "a"}',
    ]
    assert len({item.digest for item in page.items}) == 2
    assert (page.count, page.malformed, page.cursor) == (2, 0, None)


async def test_equal_bytes_have_equal_digests_in_lists_and_alone() -> None:
    raw = json.dumps(job()).encode()
    first = await jobs_of(Reply(body=b'{"data":[' + raw + b"]}"))
    second = await jobs_of(Reply(body=b'{"data":[' + raw + b"]}"))
    assert first.digest == second.digest
    assert first.items == second.items
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs/ftjob-1", Reply(body=raw + b"\n"))
        assert await it.source.retrieve_job("ftjob-1") == first.items[0]


async def test_a_page_has_another_digest_as_soon_as_anything_on_it_changed() -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        for path in ("", "/ftjob-1/events", "/ftjob-1/checkpoints"):
            pages = [
                listing(job(), has_more=False),
                listing(job(), has_more=False),
                listing(job(), has_more=True),
                listing(job(status="succeeded")),
            ]
            api.says(f"/fine_tuning/jobs{path}", *pages)
        lists = {
            "jobs": lambda: it.source.list_jobs(after=None, limit=2),
            "events": lambda: it.source.list_entries("ftjob-1", after=None, limit=2),
            "checkpoints": lambda: it.source.list_checkpoints(
                "ftjob-1", after=None, limit=2
            ),
        }
        for ask in lists.values():
            first, same, longer, changed = [(await ask()).digest for _ in range(4)]
            assert first == same
            assert len({first, longer, changed}) == 3


async def test_the_cursor_is_the_last_item_while_there_is_more() -> None:
    page = await jobs_of(listing(job("ftjob-3"), job("ftjob-2"), has_more=True))
    assert page.cursor == "ftjob-2"


@pytest.mark.parametrize("odd", [3, "text", None, [], {}, {"id": None}, {"id": 7}])
async def test_an_odd_item_is_counted_and_the_rest_kept(odd: object) -> None:
    page = await jobs_of(listing(job("ftjob-3"), odd, job("ftjob-2"), has_more=True))
    assert len(page.items) == 2
    assert (page.count, page.malformed, page.cursor) == (3, 1, "ftjob-2")


async def test_an_odd_last_item_does_not_end_the_list() -> None:
    page = await jobs_of(listing(job("ftjob-3"), {"id": 7}, has_more=True))
    assert (page.cursor, page.malformed) == ("ftjob-3", 1)


async def test_a_list_that_goes_on_from_nowhere_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="no item has an id to go on from"):
        await jobs_of(listing({"id": None}, has_more=True))


async def test_an_envelope_may_know_the_last_id_better() -> None:
    page = await jobs_of(listing({"id": None}, has_more=True, last_id="ftjob-7"))
    assert page.cursor == "ftjob-7"


async def test_an_empty_page_is_the_end_whatever_it_claims() -> None:
    assert (await jobs_of(listing(has_more=True))).cursor is None


@pytest.mark.parametrize(
    ("said", "goes_on"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        ("true", True),
        ("False", False),
    ],
)
async def test_has_more_is_understood_in_other_words(
    said: object, goes_on: bool
) -> None:
    page = await jobs_of(listing(job("ftjob-2"), has_more=said))
    assert (page.cursor == "ftjob-2") is goes_on


def unsaid(*ids: str) -> Reply:
    return answer({"data": [job(each) for each in ids]})


async def test_without_has_more_a_full_page_goes_on_and_a_short_one_ends() -> None:
    ids = [f"ftjob-{n}" for n in range(20)]
    assert (await jobs_of(unsaid(*ids), limit=20)).cursor == "ftjob-19"
    assert (await jobs_of(unsaid(*ids), limit=100)).cursor == "ftjob-19"
    assert (await jobs_of(unsaid(*ids[:3]), limit=100)).cursor is None
    assert (await jobs_of(unsaid(*ids[:3]), limit=3)).cursor == "ftjob-2"
    assert (await jobs_of(unsaid(), limit=3)).cursor is None


async def test_an_api_that_does_not_page_at_all_is_not_asked_for_ever() -> None:
    ids = [f"ftjob-{n}" for n in range(20)]
    page = await jobs_of(unsaid(*ids), after="ftjob-19", limit=20)
    assert page.cursor is None
    assert page.count == 20


async def test_a_bare_nan_costs_its_value_and_nothing_else() -> None:
    body = (
        b'{"data": [{"id": "e-2", "created_at": 2, "type": "metrics", "data":'
        b' {"step": 2, "train_loss": NaN, "valid_loss": 0.5, "x": -Infinity,'
        b' "y": 1e999}}, {"id": "e-1", "created_at": 1, "message": "m\xff \\ud800"}],'
        b' "has_more": true}'
    )
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs/ftjob-1/events", Reply(body=body))
        page = await it.source.list_entries("ftjob-1", after=None, limit=100)
    metrics, message = page.items
    assert metrics.point is not None
    assert metrics.point.values == {"valid_loss": 0.5}
    assert metrics.data["train_loss"] is None
    assert message.message == "m\ufffd ?"
    assert page.cursor == "e-1"


async def test_a_job_with_a_bare_nan_can_be_stored_and_decoded_again() -> None:
    body = b'{"data": [{"id": "ftjob-1", "status": "running", "beta": NaN}]}'
    page = await jobs_of(Reply(body=body))
    (item,) = page.items
    assert json.loads(item.raw)["beta"] is None
    assert page == await jobs_of(Reply(body=body))
    async with scripted_api() as api, source_at(api.base_url) as it:
        assert it.source.identify(item.raw) == "ftjob-1"
        assert it.source.decode(item.raw).status == "running"


async def test_checkpoints_are_read_item_by_item() -> None:
    reply = listing(
        {
            "object": "fine_tuning.job.checkpoint",
            "id": "ftckpt_2",
            "created_at": 1723207800,
            "fine_tuned_model_checkpoint": "ft:m::x:ckpt-step-200",
            "fine_tuning_job_id": "ftjob-1",
            "metrics": {"step": 200, "full_valid_loss": 0.0, "new_metric": 3},
            "step_number": 200,
        },
        "nonsense",
        has_more=True,
        first_id="ftckpt_2",
        last_id="ftckpt_1",
    )
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs/ftjob-1/checkpoints", reply)
        page = await it.source.list_checkpoints("ftjob-1", after=None, limit=10)
    (checkpoint,) = page.items
    assert checkpoint.step == 200
    assert checkpoint.model == "ft:m::x:ckpt-step-200"
    assert checkpoint.metrics == {"full_valid_loss": 0.0, "new_metric": 3.0}
    assert checkpoint.extra == {}
    assert (page.malformed, page.cursor) == (1, "ftckpt_2")
