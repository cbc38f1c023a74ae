"""The poller against the simulated API over real HTTP, with a real store."""

from support.watching import until, watching

SETTLED = "tunewatch.job.settled"


async def test_a_job_is_told_from_its_first_sight_until_it_is_settled(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with watching(url, speed=600.0) as watch:
        job = watch.api.add_job(steps=30, seconds_per_step=10.0)
        async with watch.polling() as poller:
            await until(lambda: watch.heard.count(SETTLED), what="settled")
            await until(lambda: poller.tracked == 0, what="no longer tracked")
        types = watch.heard.types(job.id)
        assert types[0] == "tunewatch.job.discovered"
        assert types[-1] == SETTLED
        statuses = [t for t in types if t.startswith("fine_tuning.job.")]
        assert statuses[-1] == "fine_tuning.job.succeeded"
        points = [
            point
            for event in watch.heard.events
            if event.type == "fine_tuning.event.metrics"
            for point in event.payload.points
        ]
        assert sorted({point.step for point in points}) == list(range(1, 31))
        assert [point.n for point in points] == list(range(1, len(points) + 1))
        assert types.count("fine_tuning.checkpoint.created") == 3
