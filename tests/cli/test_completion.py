"""Completion in the real shells: their scripts are sourced, and a key is pressed."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from support.program import Program

BASH = """
source <(tunewatch completion bash)
complete -p tunewatch >/dev/null || exit 3
COMP_WORDS=({words}) COMP_CWORD={at}
_tunewatch_completion tunewatch
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# A completion system of our own in the place of zsh's: it says what it is offered.
ZSH = """
compdef() {{ registered=$2 }}
_describe() {{ local of=$3; print -rl -- "${{(@)${{(@P)of}}%%:*}}" }}
compadd() {{ local of=${{@[-1]}}; print -rl -- "${{(@P)of}}" }}
source <(tunewatch completion zsh)
[[ $registered == tunewatch ]] || exit 3
words=({words}) CURRENT={at}+1
_tunewatch_completion
"""
FISH = """
tunewatch completion fish | source
complete --do-complete "{line}"
"""


@pytest.fixture
def program(tmp_path):
    """A program that a shell finds by its name."""
    made = Program(tmp_path)
    script = tmp_path / "bin" / "tunewatch"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tunewatch "$@"\n')
    script.chmod(0o755)
    made.environ["PATH"] = f"{script.parent}{os.pathsep}{made.environ['PATH']}"
    return made


def offered(program: Program, shell: str, line: str) -> set[str]:
    """Return what a shell offers at the end of a line."""
    words = line.split(" ")
    quoted = " ".join(f'"{word}"' for word in words)
    template = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
    text = template.format(words=quoted, at=len(words) - 1, line=line)
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *quiet, "-c", text],
        env=program.environ,
        cwd=program.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return {one.split("\t")[0] for one in done.stdout.splitlines() if one}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "expected", "absent"),
    [
        ("tunewatch ", {"jobs", "events", "completion"}, {"jobs_command"}),
        ("tunewatch e", {"events"}, {"jobs"}),
        ("tunewatch jobs --se", {"--settled"}, {"--status"}),
        ("tunewatch jobs -o ", {"table", "json", "yaml"}, {"jobs"}),
        ("tunewatch completion ", {"bash", "zsh", "fish"}, {"jobs"}),
        ("tunewatch plugins ", {"pause", "resume"}, {"jobs"}),
    ],
)
def test_a_shell_offers_what_there_is(program, shell, line, expected, absent):
    found = offered(program, shell, line)
    assert expected <= found
    assert not absent & found


TERMINAL = {
    "bash": ["bash", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
READY = {
    "bash": "source <(tunewatch completion bash)",
    "zsh": "autoload -Uz compinit && compinit -u -D && "
    "source <(tunewatch completion zsh)",
}


@pytest.mark.parametrize("shell", TERMINAL)
def test_the_key_completes_a_word_on_a_terminal(program, shell):
    leader, follower = os.openpty()
    process = subprocess.Popen(
        TERMINAL[shell],
        env={**program.environ, "TERM": "dumb", "PS1": "$ ", "HISTFILE": ""},
        cwd=program.directory,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    try:
        os.write(leader, f"{READY[shell]} && echo is-$((1+1))-ready\n".encode())
        read_until(leader, b"is-2-ready")
        os.write(leader, b"tunewatch compl\t")
        read_until(leader, b"tunewatch completion")
    finally:
        process.kill()
        process.wait()
        os.close(leader)
        os.close(follower)


def read_until(terminal: int, wanted: bytes) -> None:
    """Read what a terminal shows until something is there."""
    shown = b""
    while wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, shown
        shown += os.read(terminal, 4096)


def test_a_shell_that_is_not_known_is_a_usage_error(program):
    done = program("completion", "powershell")
    assert done.code == 2
    assert "'bash', 'zsh', 'fish'" in done.err
