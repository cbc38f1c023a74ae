"""Strangers' packages, a source and a plugin, installed beside tunewatch."""

from __future__ import annotations

import ast
import json

import pytest

from support.distribution import SAMPLES, install_sample, write_package
from support.program import Program
from support.running import QUICK, Running, configure, ended, eventually, running

PUBLIC = {"tunewatch.model", "tunewatch.plugin", "tunewatch.sources.contract"}
"""What the README names to authors of plugins and sources."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install each sample as the package that it is."""
    directory = tmp_path_factory.mktemp("samples")
    return [install_sample(directory, name) for name in ("acme-trainer", "acme-diary")]


@pytest.fixture
def program(tmp_path, installed):
    hollow = write_package(
        tmp_path,
        "acme-hollow",
        {"tunewatch.plugins": {"hollow": "acme_hollow:PLUGIN"}},
        {"acme_hollow": "import nowhere"},
    )
    return Program(tmp_path, sites=(*installed, hollow))


def train(program: Program, status: str, *losses: float) -> None:
    run = {
        "id": "run-1",
        "status": status,
        "created_at": 1_790_000_000,
        "losses": losses,
    }
    # Whole at once: a half-written file would be the trainer's mistake, not ours.
    new = program.directory / "state.new"
    new.write_text(json.dumps([run]))
    new.rename(program.directory / "state.json")


def settings(program: Program, plugins: str) -> None:
    source = f'[sources.cluster]\nkind = "trainer"\npath = "{program.directory}/'
    configure(program, f'{source}state.json"\n{QUICK}{plugins}')


def diary(program: Program, name: str = "diary") -> list[str]:
    path = program.directory / f"{name}.txt"
    return path.read_text().splitlines() if path.exists() else []


async def state_of(daemon: Running, plugin: str) -> str:
    found: str = (await daemon.part("plugins", plugin))["state"]
    return found


async def test_a_stranger_s_source_and_sink_work_by_their_entry_points(program):
    settings(program, f'[plugins.diary]\npath = "{program.directory}/diary.txt"\n')
    train(program, "running", 2.5)
    async with running(program) as daemon:
        await eventually(
            lambda: "fine_tuning.event.metrics" in diary(program), "metrics are told"
        )
        train(program, "succeeded", 2.5, 2.0)
        await eventually(
            lambda: "fine_tuning.job.succeeded" in diary(program), "the end is told"
        )
        assert daemon.log("diary.open")[0]["plugin"] == "diary"
        plugins = json.loads((await daemon.cli("plugins", "-o", "json")).out)
        assert {"diary", "hollow", "webhook"} <= set(plugins["installed"])
        (program.directory / "state.json").unlink()
        trouble = await daemon.logged("source.trouble", source="cluster")
        assert "cannot read the state file: No such file" in trouble["reason"]
        assert await daemon.stop() == 0
    told = diary(program)
    assert told[0] == "tunewatch.job.discovered"
    assert told.count("fine_tuning.job.running") == 1


def test_the_samples_are_written_from_what_is_documented_alone():
    for module in SAMPLES.rglob("*.py"):
        named = {
            node.module
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        ours = {name for name in named if name.startswith("tunewatch")}
        assert ours, module
        assert ours <= PUBLIC, module


async def test_a_kind_that_nobody_installed_is_told_with_those_there_are(program):
    configure(program, '[sources.cluster]\nkind = "slurm"\n')
    done = await ended(program, "run")
    assert done.code == 2
    assert "sources.cluster.kind: no source kind called 'slurm'" in done.err
    assert "installed: azure, openai, trainer" in done.err


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('path = "x"\npaht = "y"\n', "sources.cluster.paht: there is no such key"),
        ("", "sources.cluster.path: wanted"),
    ],
)
async def test_a_stranger_s_settings_are_checked_like_our_own(program, keys, told):
    configure(program, f'[sources.cluster]\nkind = "trainer"\n{keys}')
    done = await ended(program, "check")
    assert done.code == 2
    assert told in done.err


async def test_a_plugin_that_does_not_open_degrades_alone_and_is_tried_again(program):
    gate = program.directory / "gate"
    settings(
        program,
        f'[plugins.diary]\npath = "{program.directory}/diary.txt"\n'
        f'[plugins.late]\nkind = "diary"\npath = "{program.directory}/late.txt"\n'
        f'gate = "{gate}"\n',
    )
    train(program, "running", 2.5)
    async with running(program) as daemon:
        refused = await daemon.logged("plugin.does_not_open", plugin="late")
        assert "the broker is down" in refused["reason"]
        await eventually(
            lambda: "fine_tuning.event.metrics" in diary(program), "the other goes on"
        )
        late = await daemon.part("plugins", "late")
        assert late["state"] == "probing"
        assert "the broker is down" in late["reason"]
        assert (await daemon.ready())[0] == 200
        assert await state_of(daemon, "diary") == "up"
        gate.touch()
        await daemon.logged("plugin.opened", plugin="late")
        await eventually(
            lambda: diary(program, "late") == diary(program), "it catches up"
        )
        assert await state_of(daemon, "late") == "up"
        assert len(daemon.log("plugin.does_not_open")) == 1
        assert await daemon.stop() == 0


@pytest.mark.parametrize(
    ("plugins", "named"),
    [
        ('[plugins.diary]\npath = "x"\npaht = "y"\n', "plugins.diary.paht"),
        ("[plugins.diary]\n", "plugins.diary.path"),
        ("[plugins.hollow]\n", "nowhere"),
    ],
)
async def test_settings_or_an_import_that_are_wrong_stop_the_start(
    program, plugins, named
):
    settings(program, plugins)
    done = await ended(program, "run")
    assert done.code == 2
    assert named in done.err
    assert "Traceback" not in done.err
