"""`tunewatch demo`: a simulated API, the daemon and a receiver, sped up.

The daemon is the real one, in a process of its own, configured by a real file; the API
and the receiver are the ones of `tunewatch.testing`. Nothing but this machine is
reached, and everything is gone at the end.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunewatch.cli.exits import Quit
from tunewatch.cli.output import text_of

if TYPE_CHECKING:
    from tunewatch.testing import Received  # only --help should not pay for it

KEY = "sk-simulated"
STOP = 30.0  #: s the daemon may take to stop

_CONFIG = """\
[daemon]
state = "sqlite:///{state}"
listen = "127.0.0.1:{port}"
log_level = "warning"
shutdown_grace = "2s"

[sources.demo]
kind = "openai"
base_url = "{api}"
api_key = "{key}"
poll_interval = "1s"
idle_interval = "1s"
settle_window = "2s"
requests_per_minute = 6000

[plugins.receiver]
kind = "webhook"
url = "{receiver}"
secret = "{secret}"
allow_hosts = ["127.0.0.1"]
events = ["@status", "@selection", "fine_tuning.checkpoint.created"]
"""


@click.command()
@click.option(
    "--speed",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Simulated seconds in a second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="End after so long; else at Ctrl-C.",
)
@click.option("--seed", type=int, default=0, help="The same seed, the same jobs.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of /metrics.")
def command(speed: float, seconds: float | None, seed: int, port: int) -> int:
    """Show it all at work: simulated API, daemon and a webhook receiver."""
    return asyncio.run(_demo(speed, seconds, seed, port))


async def _demo(speed: float, seconds: float | None, seed: int, port: int) -> int:
    from tunewatch.testing import Organisation, Receiver, SimulatedApi

    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    api = SimulatedApi(seed=seed, time_scale=speed)
    Organisation(seed=seed, keys=(KEY,)).move_into(api)
    receiver = Receiver(secrets=[secret], heard=_say)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        configuration = directory / "tunewatch.toml"
        text = _CONFIG.format(
            state=directory / "state.db",
            port=port,
            api=await stack.enter_async_context(api.serve()),
            key=KEY,
            receiver=await stack.enter_async_context(receiver.serve()),
            secret=secret,
        )
        configuration.write_text(text)
        _introduce(configuration, speed)
        daemon = await stack.enter_async_context(_daemon(configuration))
        await _until_told(daemon, seconds)
    heard = len(receiver.accepted)
    click.echo(f"\n{heard} signed events were received; all traces are gone.", err=True)
    return 0


def _introduce(configuration: Path, speed: float) -> None:
    click.echo(
        f"A simulated organisation trains models, {speed:g} times as fast as life. The "
        "daemon watches\nit; below is what its webhook receiver hears. Ctrl-C ends it. "
        "Meanwhile, in another\nterminal:\n\n"
        f"  tunewatch --config {configuration} jobs\n",
        err=True,
    )


@asynccontextmanager
async def _daemon(configuration: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the daemon as a child until the block ends."""
    daemon = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tunewatch",
        "--config",
        str(configuration),
        "run",
        # Keys and settings of the person's own have no place in a demonstration.
        env={
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TUNEWATCH_", "OPENAI_"))
        },
        start_new_session=True,  # Ctrl-C is ours: the daemon is asked to stop
    )
    try:
        yield daemon
    finally:
        await _stop(daemon)


async def _stop(daemon: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        daemon.terminate()
    try:
        async with asyncio.timeout(STOP):
            await daemon.wait()
    except TimeoutError:
        daemon.kill()
        await daemon.wait()


async def _until_told(
    daemon: asyncio.subprocess.Process, seconds: float | None
) -> None:
    """Wait for Ctrl-C, the end of the time, or the daemon's own end."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_ended(daemon, told), name="daemon")
            await told.wait()
            watch.cancel()
    if daemon.returncode is not None:
        raise Quit(daemon.returncode or 70, "the daemon ended by itself; see above")


async def _ended(daemon: asyncio.subprocess.Process, told: asyncio.Event) -> None:
    await daemon.wait()
    told.set()


def _say(received: Received) -> None:
    """Print one line for an event that was received."""
    if received.problem is not None:
        click.echo(f"refused: {text_of(received.problem)}", err=True)
        return
    event = received.json()
    data = event["data"]
    job = data.get("job") or {}
    facts = [job.get("suffix"), *_details(event["type"], data)]
    told = "  ".join(text_of(fact) for fact in facts if fact)
    click.echo(f"{event['timestamp']}  {text_of(event['type']):40}  {told}")


def _details(kind: str, data: dict[str, object]) -> list[str | None]:
    checkpoint = data.get("checkpoint")
    if not isinstance(checkpoint, dict):
        return [str(data[key]) for key in ("id", "detail") if data.get(key)]
    step = f"step {checkpoint.get('step_number')}"
    if not kind.endswith(".selected"):
        return [str(data.get("id")), step]
    value = (
        f"{data.get('decision')}: {step}, {data.get('metric')} = {data.get('value')}"
    )
    return [str(data.get("id")), value]
