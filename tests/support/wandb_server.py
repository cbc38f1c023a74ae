"""A W&B server for tests: the calls that the real client makes, and what they came to.

Answers as the real one does: whether a run exists and how far it got, its making and
changing, the file stream, files, alerts and artifacts. Holds rows by their place in the
stream, as W&B does: the same place twice is the same row, another place another one.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "0123456789" * 4
"""The only key that is let in."""


@dataclass(slots=True)
class ServedRun:
    """A run as the server has it."""

    name: str
    project: str
    entity: str
    display: str = ""
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)  #: its config as it came
    history: dict[int, dict[str, Any]] = field(default_factory=dict)  #: by place
    summary: dict[str, Any] = field(default_factory=dict)
    log: dict[int, str] = field(default_factory=dict)  #: lines by place
    exits: list[int] = field(default_factory=list)  #: exit codes, as they came
    is_preempting: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """Its config without W&B's own part."""
        return {k: v["value"] for k, v in self.said.items() if k != "_wandb"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its history in order."""
        return [self.history[place] for place in sorted(self.history)]

    @property
    def points(self) -> list[int]:
        """The ordinals of its points in order, each as often as it is there."""
        return [row["point"] for row in self.rows]

    @property
    def lines(self) -> list[str]:
        """The lines of its log without the client's time."""
        return [self.log[place].partition(" ")[2] for place in sorted(self.log)]


@dataclass(slots=True)
class WandbServer:
    """What it has, and how it answers."""

    runs: dict[str, ServedRun] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)  #: artifacts that were inputs
    calls: list[str] = field(default_factory=list)  #: operations, as they came
    writers: list[tuple[str, str]] = field(default_factory=list)
    """Which run was made or written to, and the host by which the writer knows us."""
    status: int = 200  #: what everything is answered with
    words: str = "the server is in trouble"
    url: str = ""
    refused: frozenset[str] = frozenset()  #: operations that are not permitted
    instead: dict[str, Any] = field(default_factory=dict)
    """What operations are answered with, whatever they were to be answered."""
    hangs: bool = False  #: whether every request waits

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve on loopback in a thread with a loop of its own; yield the URL."""
        ready: Future[str] = Future()
        over = threading.Event()
        thread = threading.Thread(
            target=asyncio.run, args=(self._served(ready, over),), name="wandb-server"
        )
        thread.start()
        try:
            self.url = ready.result(timeout=10)
            yield self.url
        finally:
            over.set()
            thread.join()

    async def _served(self, ready: Future[str], over: threading.Event) -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self._respond)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            ready.set_result(f"http://{host}:{port}")
            while not over.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
        finally:
            self.hangs = False
            await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.Response:
        body = await request.read()
        while self.hangs:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        if self.status != 200:
            told = {"errors": [{"message": self.words}]}
            return web.json_response(told, status=self.status)
        if not _is_let_in(request):
            told = {"errors": [{"message": "the key is not known"}]}
            return web.json_response(told, status=401)
        with suppress(gzip.BadGzipFile):
            body = gzip.decompress(body)
        if request.path == "/graphql" and _operation(json.loads(body)) in self.refused:
            told = {"data": None, "errors": [{"message": "permission denied"}]}
            return web.json_response(told)
        if request.path == "/graphql":
            asked = json.loads(body)
            if _operation(asked) == "UpsertBucket":
                run = asked["variables"].get("name") or ""
                self.writers.append((run, request.url.host or ""))
            return web.json_response({"data": self._graphql(asked)})
        if request.path.endswith("/file_stream"):
            self.calls.append("file_stream")
            run = request.path.split("/")[4]
            self.writers.append((run, request.url.host or ""))
            self._stream(run, json.loads(body))
        else:
            self.calls.append(request.path)
        return web.json_response({})

    def _graphql(self, asked: dict[str, Any]) -> Any:
        given = asked.get("variables") or {}
        name = _operation(asked)
        self.calls.append(name)
        if name in self.instead:
            return self.instead[name]
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        answer = getattr(self, f"_on_{snake}", None)
        return {} if answer is None else answer(given.get("input", given))

    def _on_viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "1", "entity": "acme", "username": "acme", "flags": "{}"}
        viewer |= {"email": "acme@example.com", "teams": {"edges": []}}
        return {"viewer": viewer}

    def _on_get_viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "VXNlcjox", "name": "acme", "username": "acme", "admin": False}
        viewer |= {"email": "acme@example.com", "flags": "{}", "entity": "acme"}
        viewer |= {"deletedAt": None, "apiKeys": {"edges": []}, "teams": {"edges": []}}
        return {"viewer": viewer}

    def _on_get_default_entity(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "VXNlcjox", "entity": "acme"}}

    def _on_server_features_query(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _on_run_resume_status(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        model = {"id": "p", "name": given.get("project"), "entity": _ENTITY}
        return {"model": {**model, "bucket": None if run is None else _resumed(run)}}

    def _on_runs(self, given: dict[str, Any]) -> dict[str, Any]:
        wanted = json.loads(given["filters"])["tags"]
        found = [
            run
            for run in self.runs.values()
            if (run.project, run.entity) == (given["project"], given["entity"])
        ]
        if not found:
            return {"project": None}
        nodes = [_listed(run) for run in found if wanted in run.tags]
        runs = {"edges": [{"node": node, "cursor": "c"} for node in nodes]}
        runs |= {"pageInfo": {"endCursor": "c", "hasNextPage": False}}
        project = {"internalId": "cA==", "runCount": len(nodes), "readOnly": False}
        return {"project": {**project, "runs": runs}}

    def _on_upsert_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        is_new = given["name"] not in self.runs
        run = self.runs.setdefault(
            given["name"],
            ServedRun(
                given["name"], given.get("project") or "", given.get("entity") or "acme"
            ),
        )
        if given.get("config"):
            run.said = json.loads(given["config"])
        run.display = given.get("displayName") or run.display
        run.group = given.get("groupName") or run.group
        run.job_type = given.get("jobType") or run.job_type
        run.notes = given.get("notes") or run.notes
        if given.get("tags") is not None:
            run.tags = given["tags"]
        bucket = {"id": run.name, "name": run.name, "displayName": run.display}
        bucket |= {"historyLineCount": len(run.history), "config": "{}"}
        bucket |= {"project": {"id": "p", "name": run.project, "entity": _ENTITY}}
        bucket |= {"description": None, "sweepName": None}
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _on_create_run_files(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/put/{name}"}
            for name in given["files"]
        ]
        made = {"runID": given["run"], "uploadHeaders": [], "files": files}
        return {"createRunFiles": made}

    def _on_notify_scriptable_run_alert(self, given: dict[str, Any]) -> dict[str, Any]:
        self.alerts.append(given)
        return {"notifyScriptableRunAlert": {"success": True}}

    def _on_artifact_type(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _on_create_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.artifacts.append(given)
        number = len(self.artifacts)
        made = {"id": f"artifact-{number}", "state": "PENDING"}
        made |= {"artifactSequence": {"id": "s", "latestArtifact": None}}
        return {"createArtifact": {"artifact": made}}

    def _on_create_artifact_manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {"id": "f", "name": "m", "displayName": "m"}
        file |= {"uploadUrl": f"{self.url}/put/manifest", "uploadHeaders": []}
        manifest = {"id": "manifest", "file": file}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _on_update_artifact_manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "updateArtifactManifest": self._on_create_artifact_manifest(given)[
                "createArtifactManifest"
            ]
        }

    def _on_commit_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        artifact = {"id": given["artifactID"], "digest": "d"}
        return {"commitArtifact": {"artifact": artifact}}

    def _on_use_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.used.append(given["artifactID"])
        return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}

    def _stream(self, name: str, sent: dict[str, Any]) -> None:
        run = self.runs[name]
        files = sent.get("files") or {}
        for place, line in _placed(files.get("wandb-history.jsonl")):
            run.history[place] = json.loads(line)
        for _, line in _placed(files.get("wandb-summary.json")):
            run.summary = json.loads(line)
        run.log.update(_placed(files.get("output.log")))
        run.is_preempting = run.is_preempting or bool(sent.get("preempting"))
        if sent.get("complete"):
            run.exits.append(sent.get("exitcode"))


_ENTITY = {"id": "e", "name": "acme"}


def _operation(asked: dict[str, Any]) -> str:
    """Return the name of an operation, which the Python half does not send beside."""
    words = asked["query"].replace("(", " ").replace("{", " ").split()
    kind = next(at for at, word in enumerate(words) if word in ("query", "mutation"))
    return asked.get("operationName") or words[kind + 1]


def _placed(file: dict[str, Any] | None) -> Iterator[tuple[int, str]]:
    if file is not None:
        yield from enumerate(file["content"], file["offset"])


def _listed(run: ServedRun) -> dict[str, Any]:
    told = {"id": run.name, "name": run.name, "displayName": run.display}
    told |= {"tags": run.tags, "notes": run.notes, "group": run.group}
    told |= {"state": "finished", "jobType": run.job_type, "projectId": "1"}
    told |= {"user": {"name": "acme", "username": "acme"}}
    unsaid = ("sweepName", "commit", "heartbeatAt", "description")
    told |= dict.fromkeys(unsaid) | {"readOnly": False, "createdAt": "2024-08-09"}
    return told | {"historyLineCount": len(run.history)}


def _resumed(run: ServedRun) -> dict[str, Any]:
    started = run.said.get("_wandb", {}).get("value", {}).get("t", {"1": 1})
    return {
        "id": run.name,
        "name": run.name,
        "displayName": run.display,
        "summaryMetrics": json.dumps(run.summary),
        "logLineCount": len(run.log),
        "historyLineCount": len(run.history),
        "eventsLineCount": 0,
        "historyTail": json.dumps([json.dumps(row) for row in run.rows[-1:]]),
        "eventsTail": "[]",
        "config": json.dumps(run.said),
        "tags": run.tags,
        "notes": run.notes,
        "wandbConfig": json.dumps({"t": started}),
    }


def _is_let_in(request: web.Request) -> bool:
    if request.path.startswith("/put/"):
        return True  # the address is the permission
    given = request.headers.get("authorization", "")
    return given == "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
