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
from importlib.util import find_spec
from pathlib import Path

import click

from tunewatch.cli.demo_account import Account
from tunewatch.cli.demo_broker import broker
from tunewatch.cli.demo_children import Offer, end, free_port
from tunewatch.cli.exits import USAGE, Quit

KEY = "sk-simulated"
STOP = 30.0  #: s the daemon may take to stop
USUAL = 9478  #: the port that `listen` has by default

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
events = [
    "@status", "@metrics", "@selection",
    "fine_tuning.checkpoint.created", "tunewatch.job.settled",
]
"""

_WANDB = """
[plugins.wandb]
mode = "offline"
dir = "{directory}"
"""

_GREETING = """\
A simulated organisation fine-tunes models, {speed:g} times as fast as life. The daemon
polls its API; below is what a webhook receiver of its own hears. Nothing leaves this
machine. It ends after {seconds:g} s or at Ctrl-C. Meanwhile:

  metrics     http://127.0.0.1:{port}/metrics
  all jobs    tunewatch --config {configuration} jobs
"""
_FAREWELL = """
The jobs, the store and the secret are gone again. With jobs of your own:

  OPENAI_API_KEY=... tunewatch run          every job of that key, no file needed
  tunewatch config --example                every setting, with its meaning
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
    default=105.0,
    show_default=True,
    help="End after so long, or at Ctrl-C.",
)
@click.option("--seed", type=int, default=0, help="The same seed, the same jobs.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help=f"Of /metrics. Default: {USUAL}, or a free one if it is taken.",
)
def command(speed: float, seconds: float, seed: int, port: int) -> int:
    """Show it all at work: simulated API, daemon and a webhook receiver."""
    return asyncio.run(_demo(speed, seconds, seed, port or _port()))


async def _demo(speed: float, seconds: float, seed: int, port: int) -> int:
    from tunewatch.testing import Organisation, Receiver, SimulatedApi

    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    api = SimulatedApi(seed=seed, time_scale=speed)
    Organisation(seed=seed, keys=(KEY,)).move_into(api)
    account = Account()
    receiver = Receiver(secrets=[secret], heard=account.hear)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        configuration = directory / "tunewatch.toml"
        bus = await stack.enter_async_context(broker())
        offers = [offer for offer in (bus, _wandb(directory)) if offer is not None]
        text = _CONFIG.format(
            state=directory / "state.db",
            port=port,
            api=await stack.enter_async_context(api.serve()),
            key=KEY,
            receiver=await stack.enter_async_context(receiver.serve()),
            secret=secret,
        )
        configuration.write_text(text + "".join(offer.table for offer in offers))
        greeting = _GREETING.format(
            speed=speed, seconds=seconds, port=port, configuration=configuration
        )
        click.echo(greeting + "".join(offer.line for offer in offers), err=True)
        daemon = await stack.enter_async_context(_daemon(configuration))
        await _until_told(daemon, seconds)
    account.close()
    click.echo(_FAREWELL, err=True)
    return 0


def _port() -> int:
    """Return the usual port if nobody has it, else any that is free."""
    port = free_port(USUAL, 0)
    if port is None:
        reason = "no port of 127.0.0.1 is free for /metrics: name one by --port"
        raise Quit(USAGE, reason)
    return port


def _wandb(directory: Path) -> Offer | None:
    """Offer W&B, offline, where its client is installed."""
    if find_spec("wandb") is None:
        return None
    line = f"  W&B runs    {directory}/wandb, offline\n"
    return Offer(_WANDB.format(directory=directory), line)


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
            if not name.startswith(("TUNEWATCH_", "OPENAI_", "WANDB_"))
        },
        start_new_session=True,  # Ctrl-C is ours: the daemon is asked to stop
    )
    try:
        yield daemon
    finally:
        await end(daemon, within=STOP)


async def _until_told(daemon: asyncio.subprocess.Process, seconds: float) -> None:
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
