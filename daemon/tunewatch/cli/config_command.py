"""`tunewatch config`: the settings in force, the annotated example, the schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunewatch.cli.options import config_option

SOURCES = ("azure",)
"""Kinds of source in the example, beside OpenAI's."""

SHOWN = ("wandb", "mqtt", "webhook")
"""Kinds of plugin in the example, if they are installed; others follow by name."""


@click.command()
@click.option("--example", is_flag=True, help="Print the annotated example instead.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file.")
@config_option
def command(example: bool, schema: bool, config_path: Path | None) -> None:
    """Print the settings in force, secrets redacted; or the example, or the schema."""
    from tunewatch import config, host
    from tunewatch.cli.settings import load_settings, plugin_model, source_model

    if example:
        kinds = (*SHOWN, *host.kinds())
        text = config.annotated_example(
            source_model, plugin_model, source_kinds=SOURCES, plugin_kinds=kinds
        )
        click.echo(text, nl=False)
        return
    if schema:
        click.echo(_schema())
        return
    settings = load_settings(config_path)
    read = ", ".join(settings.files) or "no file: the environment alone"
    click.echo(f"# from {read}")
    click.echo(config.toml_text(config.redacted(settings)), nl=False)


def _schema() -> str:
    from tunewatch import config, host, sources
    from tunewatch.cli.settings import plugin_model, source_model

    schema = config.json_schema(
        source_model,
        plugin_model,
        source_kinds=sources.kinds(),
        plugin_kinds=host.kinds(),
    )
    return json.dumps(schema, indent=2, ensure_ascii=False)
