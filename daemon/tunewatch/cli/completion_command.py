"""`tunewatch completion SHELL`: what makes a shell complete commands and options.

The shell asks the program itself at each press of the key: what is printed here never
gets old.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tunewatch.cli.exits import DEFECT, Quit

SHELLS = {
    "bash": 'in ~/.bashrc: eval "$(tunewatch completion bash)"',
    "zsh": 'in ~/.zshrc, after compinit: eval "$(tunewatch completion zsh)"',
    "fish": "tunewatch completion fish > ~/.config/fish/completions/tunewatch.fish",
}


@click.command(epilog="  ".join(f"{shell}: {how}." for shell, how in SHELLS.items()))
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands and options."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Quit(DEFECT, f"click knows no completion for {shell}")
    root = ctx.find_root()
    made = kind(root.command, {}, root.info_name or "", "_TUNEWATCH_COMPLETE")
    click.echo(made.source())
