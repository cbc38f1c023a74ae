"""An API with many jobs that all run, in a process of its own: cheap to ask.

Each key is a project with jobs of its own; every job takes a step now and then, so that
each look finds a few new points. Behind them its list has as many as wanted that ended
long ago. Notes when each job was asked after, for whoever wants
to know how long one waited. Speaks no more of the API than a poller of running jobs
asks for.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from aiohttp import web

from bench.bench_page import job as ended_job
from bench.loop import run as on_our_loop

A_STEP = 20.0  #: s between two steps of a job
FIRST_STEPS = 20  #: it has at the start
PAGE = 100
OLDEST = 10**9
"""Numbers of jobs that ended begin here; all keys see the same."""
LONG_AGO = int(time.time()) - 30 * 86_400
"""Unix seconds when the newest of them was made: within retention."""


@dataclass(slots=True)
class Asked:
    """What was asked since the last time somebody wanted to know."""

    requests: Counter[str]
    longest: float  #: s that a job waited between two looks at it
    known: int  #: jobs whose checkpoints were asked for so far: first looks are over


@dataclass(slots=True)
class ManyJobs:
    """The API as its parent sees it."""

    pipe: Connection
    url: str

    def asked(self) -> Asked:
        """Return what was asked since the last time, and count anew."""
        self.pipe.send("asked")
        answer: Asked = self.pipe.recv()
        return answer


class _Api:
    """The requests of one API."""

    def __init__(self, projects: int, jobs: int, ended: int) -> None:
        self._began = time.monotonic()
        self._at = int(time.time()) - 3600
        self._requests: Counter[str] = Counter()
        self._looked: dict[str, float] = {}
        self._longest = 0.0
        self._known: set[str] = set()
        self._jobs, self._ended = jobs, ended
        self._pages = {
            f"Bearer sk-{project}": _page(
                [self._job(project * jobs + n) for n in range(jobs)],
                has_more=ended > 0,
            )
            for project in range(projects)
        }

    def asked(self) -> Asked:
        now = time.monotonic()
        waiting = max((now - at for at in self._looked.values()), default=0.0)
        longest = max(self._longest, waiting)
        answer = Asked(self._requests, longest, len(self._known))
        self._requests, self._longest = Counter(), 0.0
        self._looked = dict.fromkeys(self._looked, now)
        return answer

    async def answer(self, request: web.BaseRequest) -> web.Response:
        parts = request.path.removeprefix("/v1/fine_tuning/jobs").strip("/").split("/")
        kind = parts[-1] if len(parts) > 1 else ("job" if parts[0] else "jobs")
        self._requests[kind] += 1
        match kind:
            case "jobs":
                body = self._list(request.headers["authorization"], request.query)
            case "events":
                self._note(parts[0])
                body = self._events(parts[0], request.query)
            case "checkpoints":
                self._note(parts[0])
                self._known.add(parts[0])
                body = _page([], has_more=False)
            case _:
                body = json.dumps(self._job(int(parts[0][6:]))).encode()
        return web.Response(body=body, content_type="application/json")

    def _list(self, key: str, query: Any) -> bytes:
        if "after" not in query:
            return self._pages[key]
        # Behind the last that runs the first of those that ended.
        first = max(0, int(query["after"][6:]) + 1 - OLDEST)
        items = [
            {
                **ended_job(OLDEST + n),
                "created_at": LONG_AGO - n,
                "finished_at": LONG_AGO - n + 900,
            }
            for n in range(first, min(first + PAGE, self._ended))
        ]
        return _page(items, has_more=first + PAGE < self._ended)

    def _note(self, job_id: str) -> None:
        now = time.monotonic()
        self._longest = max(self._longest, now - self._looked.get(job_id, now))
        self._looked[job_id] = now

    def _job(self, number: int) -> dict[str, Any]:
        running = {
            "status": "running",
            "finished_at": None,
            "fine_tuned_model": None,
            "result_files": [],
            "trained_tokens": None,
            "created_at": self._at,
        }
        return {**ended_job(number), **running}

    def _events(self, job_id: str, query: Any) -> bytes:
        steps = FIRST_STEPS + int((time.monotonic() - self._began) / A_STEP)
        newest = steps
        if "after" in query:
            newest = int(query["after"].rpartition("-")[2]) - 1
        oldest = max(1, newest - int(query.get("limit", 20)) + 1)
        items = [
            {
                "object": "fine_tuning.job.event",
                "id": f"ftevent-{job_id}-{step}",
                "created_at": self._at + step * 20,
                "level": "info",
                "message": f"Step {step}/5000: training loss=0.52",
                "type": "metrics",
                "data": {
                    "step": step,
                    "train_loss": 0.52 + step / 1e5,
                    "total_steps": 5000,
                    "train_mean_token_accuracy": 0.71,
                },
            }
            for step in range(newest, oldest - 1, -1)
        ]
        return _page(items, has_more=oldest > 1)


def _page(items: list[dict[str, Any]], *, has_more: bool) -> bytes:
    page = {"object": "list", "data": items, "has_more": has_more}
    return json.dumps(page).encode()


def _serve(pipe: Connection, projects: int, jobs: int, ended: int) -> None:
    async def run() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        api = _Api(projects, jobs, ended)
        server = await loop.create_server(web.Server(api.answer), "127.0.0.1", 0)

        def told() -> None:
            try:
                pipe.recv()
            except EOFError:
                loop.remove_reader(pipe.fileno())
                over.set()
                return
            pipe.send(api.asked())

        loop.add_reader(pipe.fileno(), told)
        pipe.send(server.sockets[0].getsockname()[1])
        await over.wait()

    on_our_loop(run())


@contextmanager
def many_jobs_api(*, projects: int, jobs: int, ended: int = 0) -> Iterator[ManyJobs]:
    """Serve so many jobs for each of so many keys `sk-0`, `sk-1` … until the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, projects, jobs, ended), name="many-jobs-api"
    )
    process.start()
    theirs.close()
    try:
        yield ManyJobs(ours, f"http://127.0.0.1:{ours.recv()}/v1")
    finally:
        ours.close()
        process.join(timeout=5)
        if process.is_alive():
            process.kill()
            process.join()
