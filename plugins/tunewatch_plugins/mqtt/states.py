"""Keeps the retained states at the broker as the daemon's jobs are.

Compares what is with what was published last, and publishes the difference: soon after
an event, after each connecting, and now and then by itself, which is how the jobs of a
source that was taken over are published again. What nobody knows any more is cleared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from tunewatch.plugin import JobGlance, JobReader, StateAway
from tunewatch_plugins.mqtt.client import Lost, TooBig
from tunewatch_plugins.mqtt.home_assistant import Announcements
from tunewatch_plugins.mqtt.job_state import encoded, is_running
from tunewatch_plugins.mqtt.link import Link, Log
from tunewatch_plugins.mqtt.messages import Message
from tunewatch_plugins.mqtt.topics import Topics
from tunewatch_plugins.mqtt.troubles import refusal

BEAT = 0.5  #: s between two passes at least
SWEEP = 5.0  #: s between two passes at most, nearly
SHARE = 0.1  #: of the time at most that reading the jobs takes
AT_ONCE = 64  #: states on their way at the same time


class Job(NamedTuple):
    """Which job it is."""

    source: str
    id: str


@dataclass(slots=True, kw_only=True)
class States:
    """The states of the jobs whose sources live here; `keep` runs until `stop`."""

    link: Link
    topics: Topics
    jobs: JobReader
    window: float  #: s that finished jobs stay
    max_jobs: int
    announcements: Announcements | None
    broker: str
    log: Log
    has_published: bool = False  #: any, ever
    _published: dict[Job, JobGlance] = field(default_factory=dict)
    _announced: dict[Job, bool] = field(default_factory=dict)  #: whether it runs
    _searched: set[str] = field(default_factory=set)  #: sources, for what is left over
    _term: int = 0
    _reading: float = 0.0  #: s that the jobs took to be read last
    _is_refused: bool = False
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """Note that a job's state is another one now."""
        self._wake.set()

    def announce_again(self) -> None:
        """Let all sensors be announced anew: somebody may know none."""
        self._announced.clear()
        self._wake.set()

    def stop(self) -> None:
        """Let `keep` publish what has changed and return; a broker may make it wait."""
        self._over.set()
        self._wake.set()

    async def keep(self) -> None:
        """Keep them, over every connection there is."""
        trouble = ""
        while not self._over.is_set():
            if not self.link.is_up:
                await self._connected()
                continue
            self._wake.clear()
            trouble = await self._tried(trouble)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP):
                    await self._wake.wait()
            # More of the same look comes meanwhile; many jobs are looked at less often.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(BEAT, self._reading / SHARE)):
                    await self._over.wait()
        if self.link.is_up:
            await self._tried(trouble)

    async def _connected(self) -> None:
        """Wait until there may be a connection, or the end."""
        async with asyncio.TaskGroup() as tasks:
            news = tasks.create_task(self.link.news(), name="mqtt.news")
            wake = tasks.create_task(self._wake.wait(), name="mqtt.wake")
            await asyncio.wait((news, wake), return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            wake.cancel()
        self._wake.clear()

    async def _tried(self, before: str) -> str:
        """Make one pass; return what is in its way, which is said once."""
        trouble = ""
        try:
            await self._pass()
        except (Lost, TooBig, StateAway):
            # The link or the daemon says it; whatever is up next gets all of it.
            self._term = 0
            return before
        except Exception as error:
            self._term, trouble = 0, type(error).__name__
            if trouble != before:
                self.log.exception("mqtt.states_unreadable")
        if before and not trouble:
            self.log.info("mqtt.states_readable")
        return trouble

    async def _pass(self) -> None:
        if self._term != self.link.terms:
            # Who restarted may have forgotten everything.
            self._term = self.link.terms
            self._published.clear()
            self._announced.clear()
            self._searched.clear()
        held = set(await self.jobs.sources())
        loop, seen, messages = asyncio.get_running_loop(), set[Job](), list[Message]()
        began = loop.time()
        parts = self.jobs.window_parts(finished_within=self.window, limit=self.max_jobs)
        async for part in parts:  # others have their turn in between
            seen.update(Job(one.source, one.id) for one in part.jobs)
            messages += self._new(part.jobs)
        self._reading = loop.time() - began
        # A source that went to another replica meanwhile is that one's to clear.
        held &= set(await self.jobs.sources())
        await self._publish(messages)
        gone = [job for job in self._published if job not in seen]
        await self._clear([job for job in gone if job.source in held])
        for job in gone:
            self._published.pop(job, None)
            self._announced.pop(job, None)
        self._searched &= held
        for source in held - self._searched:
            await self._clear(await self._left_over(source, seen))
            self._searched.add(source)

    def _new(self, jobs: Iterable[JobGlance]) -> Iterator[Message]:
        """Yield what has to be published for the broker to have them as they are."""
        for one in jobs:
            job = Job(one.source, one.id)
            if self._published.get(job) != one:
                self._published[job] = one
                self.has_published = True
                yield _kept(self.topics.state(*job), encoded(one))
            yield from self._sensors(job, one)

    def _sensors(self, job: Job, one: JobGlance) -> Iterator[Message]:
        if self.announcements is None or self._announced.get(job) is is_running(one):
            return
        self._announced[job] = is_running(one)
        if is_running(one):
            for topic, told in self.announcements.of(one):
                yield _kept(topic, told)
        else:
            yield from self._unannounced(job)

    def _unannounced(self, job: Job) -> Iterator[Message]:
        if self.announcements is not None:
            for topic in self.announcements.topics_of(*job):
                yield _nothing(topic)

    async def _left_over(self, source: str, seen: Container[Job]) -> list[Job]:
        """Return jobs that have a state though they left the window unseen."""
        client = await self.link.up()
        found = await client.retained(self.topics.states(source)) or ()
        jobs = [Job(source, name) for name in map(self.topics.job_of, found) if name]
        return [job for job in jobs if job not in seen]

    async def _clear(self, gone: Sequence[Job]) -> None:
        messages = [_nothing(self.topics.state(*job)) for job in gone]
        for job in gone:
            messages += self._unannounced(job)
        await self._publish(messages)

    async def _publish(self, messages: Sequence[Message]) -> None:
        for at in range(0, len(messages), AT_ONCE):
            async with asyncio.TaskGroup() as tasks:
                sent = [
                    tasks.create_task(self._sent(one), name="mqtt.state")
                    for one in messages[at : at + AT_ONCE]
                ]
            for one in sent:
                if (lost := one.result()) is not None:
                    raise lost

    async def _sent(self, message: Message) -> Lost | None:
        try:
            code = await self.link.publish(message)
        except Lost as lost:
            return lost
        except TooBig:
            return None  # of one job: the others have states
        refused = refusal(code, topic=message.topic, broker=self.broker)
        if refused is not None and not self._is_refused:
            self._is_refused = True
            self.log.warning("mqtt.state_refused", reason=refused.reason)
        return None


def _kept(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, is_retained=True)


def _nothing(topic: str) -> Message:
    """Return what clears a topic: an empty payload, of no type."""
    return Message(topic, b"", content_type=None, is_retained=True)
