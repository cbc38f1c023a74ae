"""`tunewatch config`: the settings in force without secrets, or the example."""

from __future__ import annotations

from pathlib import Path

import click

from tunewatch.cli.options import config_option

SOURCES = ("azure",)
"""Kinds of source in the example, beside OpenAI's."""

SHOWN = ("wandb", "mqtt", "webhook")
"""Kinds of plugin in the example, if they are installed; others follow by name."""


@click.command()
@click.option("--example", is_flag=True, help="Print the annotated example instead.")
@config_option
def command(example: bool, config_path: Path | None) -> None:
    """Print the settings in force, secrets redacted, or the annotated example."""
    from tunewatch import config, host
    from tunewatch.cli.settings import load_settings, plugin_model, source_model

    if example:
        kinds = (*SHOWN, *host.kinds())
        text = config.annotated_example(
            source_model, plugin_model, source_kinds=SOURCES, plugin_kinds=kinds
        )
        click.echo(text, nl=False)
        return
    settings = load_settings(config_path)
    read = ", ".join(settings.files) or "no file: the environment alone"
    click.echo(f"# from {read}")
    click.echo(config.toml_text(config.redacted(settings)), nl=False)
