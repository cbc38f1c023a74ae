"""`python -m tunewatch.testing.serve`: the simulated API in a process of its own.

Its first line on stdout is the base URL, or Azure's endpoint. It ends on SIGINT or
SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tunewatch.testing.api import DEFAULT_KEY, SimulatedApi
from tunewatch.testing.clock import SimulatedClock
from tunewatch.testing.organisation import Organisation
from tunewatch.testing.webhooks import WebhookSender


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end."""
    asyncio.run(_serve(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tunewatch.testing.serve",
        description="Serve a simulated fine-tuning API on loopback.",
    )
    add = parser.add_argument
    add("--kind", choices=("openai", "azure"), default="openai", help="whose API")
    add("--port", type=int, default=0, help="0: any free one")
    add("--seed", type=int, default=0, help="the same seed, the same jobs")
    add("--time-scale", type=float, default=1.0, help="simulated seconds per second")
    add(
        "--keys",
        default=DEFAULT_KEY,
        help="keys that see everything, separated by commas; empty: one per project",
    )
    add("--jobs-per-hour", type=float, default=6.0, help="simulated hours; 0: none")
    add("--past", type=int, default=12, help="jobs that ended before the start")
    add("--projects", type=int, default=0, help="an organisation of so many projects")
    add("--keys-to", type=Path, help="a directory for a file with each project's key")
    add("--many", type=int, default=0, help="add so many jobs that run now")
    add("--steps", type=int, default=90, help="the steps of those jobs")
    add("--no-organisation", action="store_true", help="only what is put by requests")
    add("--webhook-url", help="told of every job that ends, signed")
    add("--webhook-secret-file", type=Path, help="what signs that: whsec_ and base64")
    return parser


async def _serve(given: argparse.Namespace) -> None:
    keys = tuple(key for key in given.keys.split(",") if key)
    clock = SimulatedClock(scale=given.time_scale)
    api = SimulatedApi(seed=given.seed, clock=clock, dialect=given.kind)
    if given.no_organisation:
        api.project("everything", keys)
    else:
        organisation = Organisation(
            seed=given.seed,
            jobs_per_hour=given.jobs_per_hour,
            keys=() if given.projects else keys,
            projects=given.projects,
        )
        organisation.move_into(api, past=given.past)
        if given.keys_to is not None:
            write = partial(_write_keys, given.keys_to, organisation.project_keys)
            await asyncio.to_thread(write)
    if given.many:
        project = "everything" if keys else "default"
        api.put_many(given.many, project=project, steps=given.steps, apart=1.0)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with api.serve(port=given.port) as url, _telling(api, given):
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await ended.wait()


def _write_keys(directory: Path, keys: Mapping[str, str]) -> None:
    """Write each project's key into a file that is named by its id."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for project, key in keys.items():
        (directory / project).write_text(f"{key}\n")


@asynccontextmanager
async def _telling(api: SimulatedApi, given: argparse.Namespace) -> AsyncIterator[None]:
    """Send webhooks while open, if somebody wants them."""
    if given.webhook_url is None:
        yield
        return
    secret = await asyncio.to_thread(given.webhook_secret_file.read_text)
    sender = WebhookSender(api=api, url=given.webhook_url, secret=secret.strip())
    async with sender.sending():
        yield


if __name__ == "__main__":
    main()
