"""Hands the news of jobs to their runs, off the loop, and looks after what was left.

Holds the threads and the one task of the plugin. Knows what an event means only by
`news`, and W&B only by `runs`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tunewatch.events import ReceiverTried
from tunewatch.model import Snapshot
from tunewatch.plugin import Context, Delivery, Receipt, Refusal, Sink
from tunewatch_plugins.wandb_run.client import Client
from tunewatch_plugins.wandb_run.library import prepare
from tunewatch_plugins.wandb_run.news import Key, News, news_of
from tunewatch_plugins.wandb_run.runs import Runs
from tunewatch_plugins.wandb_run.settings import WandbSettings
from tunewatch_plugins.wandb_run.spool import Spool

THREADS = 8  #: calls of the client at once, as many as deliveries by default
FAREWELL = 1.5  #: times `finish_timeout` that closing all runs may take
A_DAY = 86_400.0  #: s
LONGEST_LOOK = 60.0  #: s between two looks for idle runs
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wandb:
    """A W&B account, as a sink."""

    runs: Runs
    context: Context
    pool: ThreadPoolExecutor
    is_online: bool

    async def deliver(self, delivery: Delivery) -> Receipt | None:
        """Bring an event to its job's run. Raises Retry.

        A test of the way there asks whose key it is, and leaves nothing behind.
        """
        if isinstance(delivery.event.payload, ReceiverTried) and self.is_online:
            account = await self._in_thread(self.runs.client.account)
            return Receipt(answer=f"the key is of {account}")
        news = news_of(delivery.event)
        if news is not None:
            await self.bring(news)
        return None

    async def bring(self, news: News) -> None:
        """Bring news to their run; a run that is closed is opened and made good."""
        take = partial(self.runs.take, news)
        if self.runs.knows(news.key) and await self._in_thread(
            partial(take, None, is_read=False)
        ):
            return
        snapshot = await self.context.jobs.snapshot(*news.key)
        await self._in_thread(partial(take, snapshot, is_read=True))

    async def look_after(self, *, idle: float) -> None:
        """For ever: close unused runs, and make good what a kill or an outage left."""
        trouble: str | None = None
        while True:
            before, trouble = trouble, None
            try:
                await self._close_unused(idle)
                await self._make_good()
            except Refusal as error:
                trouble = error.reason
            except Exception as error:  # a defect of ours must not end the daemon
                trouble = f"raised {type(error).__name__}"
                if before is None:
                    self.context.log.exception("wandb.defect")
            if trouble is not None and before is None:
                self.context.log.warning("wandb.runs_lag", reason=trouble)
            elif trouble is None and before is not None:
                self.context.log.info("wandb.runs_caught_up")
            await asyncio.sleep(min(LONGEST_LOOK, max(1.0, idle / 4)))

    async def close(self, *, within: float) -> None:
        """Close every run, as far as that goes in so many seconds."""
        keys = self.runs.open_keys()
        with suppress(TimeoutError):
            async with asyncio.timeout(within), asyncio.TaskGroup() as tasks:
                for key in keys:
                    tasks.create_task(self._close(key), name=f"wandb:close:{key[1]}")
        self.runs.client.is_closed = True
        # In a thread of its own: those of the pool may all be waiting for W&B.
        if left := await asyncio.to_thread(self.runs.leave):
            # They are noted on disk, and the store has their points: the next start
            # makes them good.
            self.context.log.warning("wandb.runs_left_open", runs=left)
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def _close_unused(self, idle: float) -> None:
        """Close runs without news, and those of sources that moved to another replica.

        With what is known now: somebody else may have told W&B of the job's end.
        """
        held = set(await self.context.jobs.sources())
        for key in self.runs.open_keys():
            if key[0] in held and not self.runs.is_idle(key, idle):
                continue
            snapshot = await self.context.jobs.snapshot(*key)
            status = None if snapshot is None else snapshot.job.status
            now = None if key[0] in held else snapshot
            close = partial(self.runs.close, key, status=status, now=now)
            await self._in_thread(close)
        oldest = self.context.clock.now() - max(A_DAY, 2 * idle)
        await self._in_thread(partial(self.runs.client.clear_old, older=oldest))

    async def _make_good(self) -> None:
        """Open the runs that were left, if their source is ours, and close them again.

        A running job's comes back with its next news.
        """
        held = set(await self.context.jobs.sources())
        for key in await self._in_thread(self.runs.owed):
            if key[0] in held:
                await self._catch_up(key)

    async def _catch_up(self, key: Key) -> None:
        snapshot = await self.context.jobs.snapshot(*key)
        if snapshot is not None:
            # Nothing new: what it lacks is found out when it is opened.
            none = News(key=key, realm=snapshot.realm, status=None, concludes=True)
            await self._in_thread(partial(self.runs.take, none, snapshot, is_read=True))

    async def _close(self, key: Key) -> None:
        now = await self._elsewhere(key)
        status = None if now is None else now.job.status
        try:
            close = partial(self.runs.close, key, status=status, now=now)
            await self._in_thread(close)
        except Refusal as error:
            self.context.log.warning("wandb.run_unfinished", reason=error.reason)

    async def _elsewhere(self, key: Key) -> Snapshot | None:
        """Return how a job is now, if another replica may write its run by now.

        None as well if the store does not say: then its run is closed as it is.
        """
        jobs = self.context.jobs
        try:
            return None if key[0] in await jobs.sources() else await jobs.snapshot(*key)
        except Exception:  # noqa: BLE001 - the end waits for nobody
            return None

    async def _in_thread(self, call: Callable[[], T]) -> T:
        # A call that is cut off goes on in its thread, under the lock of its run.
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)


class Disabled:
    """What `mode = "disabled"` comes to: everything is taken and nothing is done."""

    async def deliver(self, delivery: Delivery) -> None:
        """Take it."""


@asynccontextmanager
async def open_wandb(settings: WandbSettings, context: Context) -> AsyncIterator[Sink]:
    """Open a W&B account; nothing is dialled before the first event of a job.

    The client library is imported here: nobody else pays for it.
    """
    if settings.mode == "disabled":
        yield Disabled()
        return
    directory = settings.dir or context.state_dir
    await asyncio.to_thread(prepare, directory)
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"wandb-{context.name}")
    runs = Runs(
        settings=settings,
        client=Client(settings, directory),
        spool=Spool(context.state_dir / "open"),
        clock=context.clock,
        log=context.log,
    )
    account = Wandb(
        runs=runs, context=context, pool=pool, is_online=settings.mode == "online"
    )
    raised: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        after = tasks.create_task(
            account.look_after(idle=settings.idle), name=f"wandb:{context.name}"
        )
        try:
            yield account
        except Exception as error:  # noqa: BLE001 - to be raised as it came, ungrouped
            raised = error
        finally:
            after.cancel()
            await account.close(within=FAREWELL * settings.finish_timeout)
    if raised is not None:
        raise raised
