"""The files of the image, made as its Dockerfile says, without an engine.

Each step runs in a mount namespace whose root is the stage's own directory. In place of
the base image stand this machine's /usr and /etc and a Python of it: what the base
image really holds is not known here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from support.dockerfile import Stage, Step, stages

OURS_PYTHON = Path(sys.base_prefix).resolve()
BASE_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LENT = ("bin", "lib", "lib32", "lib64", "sbin", "usr")
"""What stands for the base image, where this machine has it."""
OF_ETC = ("hosts", "ld.so.cache", "localtime", "nsswitch.conf", "resolv.conf", "ssl")
"""The same of /etc; no passwd: the base image's does not know our user."""
MOUNTED = (*LENT, "etc", "proc", "dev", "tmp", "sys", "run")
OURS = ("app", "build", "tools", "var", "wheel")
"""What the steps make: a folder of this machine by that name must not be in the way."""

Instead = Callable[["Built", Step], bool]
"""Does a step in its own way and says whether it did."""


@dataclass(slots=True)
class Built:
    """A stage's files and what its image says of how to run it."""

    stage: Stage
    root: Path
    python: Path  #: the prefix of the one that stands for the base image's
    environ: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: Path = Path("/")
    lent: Sequence[str] = ()  #: bwrap's options for what is not the image's

    @property
    def variables(self) -> dict[str, str]:
        """What a `$NAME` in a step may mean."""
        return {**self.arguments, **self.environ}

    def inside(self, path: str) -> Path:
        """Return where a path of the image is on this machine."""
        return self.root / str(self.workdir / path).lstrip("/")


def build(
    dockerfile: Path,
    *,
    context: Path,
    directory: Path,
    instead: Instead = lambda _stage, _step: False,
    lent: Sequence[str] = (),
    python: Path = OURS_PYTHON,
    arguments: Mapping[str, str] = MappingProxyType({}),
) -> Built:
    """Build every stage and return the last. Raises AssertionError with what failed.

    Wants root, as an engine does, for files of other users. `lent` are further
    options of bwrap, for what `instead` has need of; `python` is the prefix of one;
    `arguments` are those of `--build-arg`.
    """
    assert os.geteuid() == 0, "wanted root, to make files of other users; found none"
    done: dict[str | None, Built] = {}
    for number, stage in enumerate(stages(dockerfile)):
        built = Built(stage, directory / f"stage{number}", python, lent=lent)
        built.environ["PATH"] = f"{python}/bin:{BASE_PATH}"
        built.root.mkdir()
        for step in stage.steps:
            if not instead(built, step):
                _do(step, built, done, context)
            given = built.arguments.keys() & arguments.keys()
            built.arguments |= {name: arguments[name] for name in given}
        done[stage.name] = built
    return built


def _do(
    step: Step, built: Built, done: Mapping[str | None, Built], context: Path
) -> None:
    variables = built.variables
    match step.word:
        case "ARG":
            built.arguments |= step.pairs(variables)
        case "ENV":
            built.environ |= step.pairs(variables)
        case "WORKDIR":
            built.workdir /= step.text
            built.inside("").mkdir(parents=True, exist_ok=True)
        case "COPY":
            _copy(step.text.split(), built, done, context)
        case "RUN":
            command = step.exec_form or ["/bin/sh", "-c", step.text]
            run_inside(built, command)


def _copy(
    words: Sequence[str],
    built: Built,
    done: Mapping[str | None, Built],
    context: Path,
) -> None:
    origin, ignore = context, shutil.ignore_patterns("__pycache__", "*.py[co]")
    if words[0].startswith("--from="):
        origin, ignore = done[words[0].partition("=")[2]].root, None
        words = words[1:]
    *sources, end = words
    assert not any(one.startswith("--") for one in sources), words
    target = built.inside(end)
    for found in (origin / source.lstrip("/") for source in sources):
        if found.is_dir():
            shutil.copytree(
                found, target, symlinks=True, dirs_exist_ok=True, ignore=ignore
            )
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, target / found.name if end.endswith("/") else target)


def run_inside(built: Built, command: Sequence[str]) -> None:
    """Run a build step as root with the stage's files as its root."""
    (built.root / "tmp").mkdir(exist_ok=True)
    asked = {key: value for key, value in os.environ.items() if _is_of_pip(key)}
    done = subprocess.run(
        [
            *("bwrap", "--die-with-parent", "--unshare-pid"),
            *("--bind", str(built.root), "/", *lent_by_this_machine(built)),
            *("--ro-bind", "/etc", "/etc", *_where_pip_looks(built), *built.lent),
            *("--proc", "/proc", "--dev", "/dev", "--chdir", str(built.workdir)),
            *command,
        ],
        env={**asked, **built.variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def confined(built: Built, *, volumes: Sequence[str], user: Sequence[str]) -> list[str]:
    """Return bwrap's options to run the image's own command as a container would.

    The root is read-only, the process number 1, alone with its kind. `volumes` are
    options for what is mounted, `user` the command that becomes somebody else.
    """
    of_etc = [str(one) for name in OF_ETC if (one := Path("/etc", name)).exists()]
    return [
        *("--die-with-parent", "--unshare-pid", "--as-pid-1", "--unshare-ipc"),
        *("--tmpfs", "/", *_passable(built), *lent_by_this_machine(built)),
        *(word for one in of_etc for word in ("--ro-bind", one, one)),
        *("--ro-bind", str(built.inside("/app")), "/app", *built.lent),
        *("--proc", "/proc", "--dev", "/dev", *volumes),
        *("--remount-ro", "/", "--chdir", str(built.workdir), *user),
        *(built.stage.last("ENTRYPOINT").exec_form or ()),
        *(built.stage.last("CMD").exec_form or ()),
    ]


def _passable(built: Built) -> list[str]:
    """Return options for the folders on the way: bwrap would keep them to root."""
    ends = (built.python, *map(Path, ("/etc/x", "/run/secrets/x", "/var/lib/x")))
    on_the_way = dict.fromkeys(
        str(one) for end in ends for one in reversed(end.parents) if one != Path("/")
    )
    return [word for one in on_the_way for word in ("--perms", "0755", "--dir", one)]


def lent_by_this_machine(built: Built) -> list[str]:
    """Return bwrap's options for what stands for the base image, all read-only."""
    options: list[str] = []
    for here in (Path("/", name) for name in LENT):
        if here.is_dir():
            options += ["--ro-bind", str(here.resolve()), str(here)]
    if not built.python.is_relative_to("/usr"):
        options += ["--ro-bind", str(built.python), str(built.python)]
    return options


def _where_pip_looks(built: Built) -> list[str]:
    """Return options for the rest of this machine: pip's index may be a folder."""
    taken = {*MOUNTED, *(one.name for one in built.root.iterdir()), *OURS}
    rest = [one for one in Path("/").iterdir() if one.is_dir()]
    options = [
        ("--ro-bind", str(one), str(one)) for one in rest if one.name not in taken
    ]
    return [word for option in options for word in option]


def _is_of_pip(name: str) -> bool:
    return name.startswith("PIP_") or name.lower().endswith("_proxy")
