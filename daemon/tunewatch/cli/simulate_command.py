"""`tunewatch simulate`: the simulated API alone, on loopback."""

from __future__ import annotations

from pathlib import Path

import click

from tunewatch.cli.exits import USAGE, Quit

_HINTS = {
    "openai": (
        'point a source at the URL below: base_url = "…", api_key = "{key}"; or\n'
        "  OPENAI_API_KEY={key} OPENAI_BASE_URL=… tunewatch run"
    ),
    "organisation": (
        'watch the projects at the URL below: [organizations.acme] base_url = "…", '
        'keys = "{keys}", admin_key = "{admin}"'
    ),
    "azure": (
        'point a source at the URL below: kind = "azure", endpoint = "…", '
        'api_key = "{key}";\n'
        '  with api_version = "2024-10-21" it is asked in the older form'
    ),
}


@click.command()
@click.option(
    "--kind",
    type=click.Choice(("openai", "azure")),
    default="openai",
    show_default=True,
    help="Whose API.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--seed", type=int, default=0, help="The same seed, the same jobs.")
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Simulated seconds in a second.",
)
@click.option("--jobs-per-hour", type=click.FloatRange(min=0), default=6.0)
@click.option("--past", type=click.IntRange(min=0), default=12, help="Jobs long over.")
@click.option("--key", default="sk-simulated", show_default=True)
@click.option(
    "--projects",
    type=click.IntRange(min=0),
    default=0,
    help="An organisation of so many projects, each with a key of its own.",
)
@click.option(
    "--keys-to",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --projects: write each project's key into a file there.",
)
@click.option("--webhook-url", help="Tell it of every job that ends, as OpenAI does.")
@click.option(
    "--webhook-secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The secret that signs those: `tunewatch secret` makes one.",
)
def command(
    *,
    kind: str,
    port: int,
    seed: int,
    time_scale: float,
    jobs_per_hour: float,
    past: int,
    key: str,
    projects: int,
    keys_to: Path | None,
    webhook_url: str | None,
    webhook_secret_file: Path | None,
) -> None:
    """Serve the simulated fine-tuning API, to try a configuration without an account.

    Prints its base URL or endpoint; nothing but this machine can reach it.
    """
    from tunewatch.testing import ADMIN_KEY, serve

    if (webhook_url is None) != (webhook_secret_file is None):
        raise Quit(USAGE, "--webhook-url and --webhook-secret-file go together")
    if (keys_to is None) != (not projects):
        raise Quit(USAGE, "--projects and --keys-to go together")
    if projects and kind != "openai":
        raise Quit(USAGE, f"--projects: an API of kind {kind} has none")
    webhooks = [
        f"--webhook-url={webhook_url}",
        f"--webhook-secret-file={webhook_secret_file}",
    ]
    many = [f"--projects={projects}", f"--keys-to={keys_to}"]
    hint = _HINTS["organisation" if projects else kind]
    click.echo(hint.format(key=key, admin=ADMIN_KEY, keys=keys_to), err=True)
    serve.main(
        [
            f"--kind={kind}",
            f"--port={port}",
            f"--seed={seed}",
            f"--time-scale={time_scale}",
            f"--jobs-per-hour={jobs_per_hour}",
            f"--past={past}",
            f"--keys={key}",
            *(many if projects else ()),
            *(webhooks if webhook_url is not None else ()),
        ]
    )
