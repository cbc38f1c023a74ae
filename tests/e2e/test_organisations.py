"""All projects of an organisation: watched as soon as there is a key for them."""

from __future__ import annotations

import base64
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.program import Program
from support.running import QUICK, Running, configure, ended, eventually, running
from tunewatch.testing import ADMIN_KEY, Fault, Receiver, Reply, SimulatedApi
from tunewatch.testing.signatures import signed
from tunewatch.testing.webhooks import event

SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
LISTS = "*organization/projects*"


@dataclass(slots=True)
class Scene:
    """An organisation, a folder of keys, and a receiver."""

    program: Program
    api: SimulatedApi
    url: str
    receiver: Receiver
    hook: str
    keys: Path
    ids: dict[str, str] = field(default_factory=dict)  #: of projects, by name

    def found(self, name: str, *, key: bool = True) -> str:
        """Found a project; write its key into the folder unless it has none yet."""
        made = self.api.found_project(name, (f"sk-{name}",), title=f"The {name}")
        self.ids[name] = made.id
        if key:
            self.write_key(name)
        return made.id

    def write_key(self, name: str) -> None:
        (self.keys / self.ids[name]).write_text(f"sk-{name}\n")

    def configure(
        self,
        more: str = "",
        *,
        admin: bool = True,
        state: str | None = None,
        rates: str = QUICK,
    ) -> None:
        admin_key = f'admin_key = "{ADMIN_KEY}"\nlist_interval = "1s"\n' * admin
        configure(
            self.program,
            f'[organizations.acme]\nbase_url = "{self.url}"\nkeys = "{self.keys}"\n'
            f'backfill = "all"\n{admin_key}{rates}{more}\n'
            f'[plugins.ops]\nkind = "webhook"\nurl = "{self.hook}"\n'
            f'secret = "{SECRET}"\nallow_hosts = ["127.0.0.1"]\nevents = ["*"]\n',
            state=state,
        )

    def told(self, name: str) -> list[str]:
        """Return the types that were told of a project, in order."""
        told = (one.json() for one in self.receiver.accepted)
        project = self.ids[name]
        return [one["type"] for one in told if one["data"]["source"] == project]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    api = SimulatedApi(time_scale=300.0)
    api.add_admin_key(ADMIN_KEY)
    receiver = Receiver(secrets=[SECRET])
    keys = tmp_path / "keys"
    keys.mkdir()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(api.serve())
        hook = await stack.enter_async_context(receiver.serve())
        yield Scene(Program(tmp_path), api, url, receiver, hook, keys)


async def states(daemon: Running) -> dict[str, str]:
    _, report = await daemon.ready()
    return {name: one["state"] for name, one in report["sources"].items()}


async def until(daemon: Running, project: str, state: str | None) -> None:
    async def is_so() -> bool:
        return (await states(daemon)).get(project) == state

    await eventually(is_so, f"{project} is {state}")


async def knows(daemon: Running, *jobs: str) -> bool:
    listed = (await daemon.cli("jobs", "--limit", "1000", "-o", "json")).out
    return all(job in listed for job in jobs)


async def test_sixty_projects_are_watched_and_those_without_a_key_are_told(scene):
    names = [f"team-{number:02}" for number in range(60)]
    for name in names:
        scene.found(name, key=name not in names[57:])
    jobs = [scene.api.add_job(project=name, outcome="paused").id for name in names]
    scene.configure(rates='poll_interval = "5s"\nidle_interval = "5s"\n')
    async with running(scene.program) as daemon:
        found = await states(daemon)
        assert len(found) == 60
        for name in names[57:]:
            part = await daemon.part("sources", scene.ids[name])
            assert part["state"] == "no_key"
            assert part["title"] == f"The {name}"
            assert (
                part["reason"]
                == f"no key yet: put one in {scene.keys}/" + (scene.ids[name])
            )
        organization = await daemon.part("organizations", "acme")
        assert organization["state"] == "up"
        assert organization["reason"] == (
            "57 of 60 projects are watched; 3 have no key yet"
        )
        await eventually(lambda: knows(daemon, *jobs[:57]), "every job is known")
        series = await daemon.metrics()
        infos = [name for name in series if name.startswith("tunewatch_source_info")]
        assert len(infos) == 57
        assert any('title="The team-00"' in name for name in infos)
        assert all('organization="acme"' in name for name in infos)
        assert series['tunewatch_organization_up{organization="acme"}'] == 1
        assert series['tunewatch_api_requests_total{endpoint="projects"}'] >= 1
        refused = 'endpoint="projects",reason="refused"'
        assert series[f"tunewatch_api_requests_failed_total{{{refused}}}"] == 0
        counted = 'tunewatch_organization_projects{organization="acme",state="%s"}'
        assert series[counted % "watched"] == 57
        assert series[counted % "no_key"] == 3

        # A key file that is dropped in counts without a restart.
        scene.write_key(names[57])
        began = time.monotonic()
        await eventually(lambda: knows(daemon, jobs[57]), "the new key is in use")
        assert time.monotonic() - began < 25
        await until(daemon, scene.ids[names[57]], "up")
        said = daemon.log("organization.no_key")
        assert len(said) == 3, "said once each"
        assert all(one["reason"].startswith("no key yet: put one in") for one in said)
        assert await daemon.stop() == 0
    written = daemon.said.read_text() + "".join(daemon.answers)
    assert ADMIN_KEY not in written
    assert not re.search(r"sk-team", written)
    # The admin key asks for projects only, and what asks for jobs is never it.
    assert {one.path for one in scene.api.requests.matching(key=ADMIN_KEY)} == {
        "/v1/organization/projects"
    }


async def test_a_new_project_is_found_though_the_list_is_asked_for_seldom(scene):
    scene.found("first")
    scene.configure()
    path = scene.program.directory / "tunewatch.toml"
    path.write_text(path.read_text().replace('"1s"', '"1h"'))
    async with running(scene.program) as daemon:
        await until(daemon, scene.ids["first"], "up")
        scene.found("second")
        await until(daemon, scene.ids["second"], "up")
        assert scene.api.requests.count(f"GET {LISTS}") <= 4
        (scene.keys / "proj_stray").write_text("sk-stray")
        await until(daemon, "proj_stray", "unlisted")
        assert await daemon.stop() == 0
    assert scene.api.requests.count("*", key="sk-stray") == 0


async def test_a_title_that_changes_only_changes_the_label(scene):
    project = scene.found("first")
    scene.configure()
    async with running(scene.program) as daemon:
        await until(daemon, project, "up")
        scene.api.project("first").title = "Now called so"

        async def has_changed() -> bool:
            infos = [one for one in await daemon.metrics() if "source_info" in one]
            return len(infos) == 1 and 'title="Now called so"' in infos[0]

        await eventually(has_changed, "the label has changed")
        assert (await daemon.part("sources", project))["title"] == "Now called so"
        assert len(daemon.log("organization.watching")) == 1
        assert await daemon.stop() == 0


async def test_an_archived_project_is_told_to_its_end_and_nothing_is_lost(scene):
    project = scene.found("old")
    scene.found("other")
    job = scene.api.add_job(project="old", steps=10)
    scene.receiver.usual = Reply(status=503)
    # Slower than the list, so that it knows before the key is refused a second time.
    scene.configure(rates='poll_interval = "6s"\nidle_interval = "6s"\n')
    async with running(scene.program) as daemon:
        await eventually(lambda: knows(daemon, job.id), "the job is known")
        scene.api.archive_project("old")
        gone = await daemon.logged("organization.no_longer_watching", source=project)
        assert gone["reason"] == "it is archived"
        part = await daemon.part("sources", project)
        assert part["state"] == "orphaned"
        assert part["reason"].startswith("it is archived; what waits for plugins")
        assert scene.told("old") == []
        scene.receiver.usual = Reply(status=200)
        await eventually(
            lambda: "tunewatch.job.discovered" in scene.told("old"),
            "what waited is delivered",
        )
        assert (await states(daemon))[scene.ids["other"]] == "up"
        infos = [one for one in await daemon.metrics() if "source_info" in one]
        assert not any(project in one for one in infos)
        assert await daemon.stop() == 0
    assert "tunewatch.source.down" not in scene.told("old")
    # A start looks once more, since its job was not over; then it is one again.
    async with running(scene.program) as daemon:
        await daemon.logged("organization.no_longer_watching", source=project)
        await until(daemon, project, "orphaned")
        assert await daemon.stop() == 0


async def test_a_key_that_is_refused_is_told_as_of_any_source(scene):
    project = scene.found("first")
    scene.configure()
    async with running(scene.program) as daemon:
        await until(daemon, project, "up")
        scene.api.revoke_key("sk-first")
        await eventually(
            lambda: "tunewatch.source.down" in scene.told("first"), "it is told"
        )
        assert (await daemon.part("sources", project))["state"] == "refused"
        (scene.keys / project).write_text("sk-again")
        scene.api.add_key("sk-again", project="first")
        await eventually(
            lambda: "tunewatch.source.up" in scene.told("first"), "and that it is back"
        )
        assert await daemon.stop() == 0


async def test_an_archived_project_whose_key_still_works_is_watched_to_the_end(scene):
    project = scene.found("old")
    job = scene.api.add_job(project="old", steps=10)
    scene.configure()
    async with running(scene.program) as daemon:
        await eventually(lambda: knows(daemon, job.id), "the job is known")
        scene.api.project("old").archived_at = 1
        await daemon.logged("organization.no_longer_watching", source=project)
        await eventually(
            lambda: "tunewatch.checkpoint.selected" in scene.told("old"), "all is told"
        )
        assert await daemon.stop() == 0
    told = scene.told("old")
    assert "fine_tuning.job.succeeded" in told
    assert "tunewatch.job.settled" in told


async def test_the_admin_key_and_its_list_harm_no_source(scene):
    project = scene.found("first")
    scene.configure()
    async with running(scene.program) as daemon:
        await until(daemon, project, "up")
        scene.api.admin_keys.clear()
        said = await daemon.logged("organization.trouble")
        assert "admin_key_file" in said["reason"]
        assert (await daemon.part("organizations", "acme"))["state"] == "refused"
        job = scene.api.add_job(project="first", outcome="paused").id
        await eventually(lambda: knows(daemon, job), "the source goes on")
        assert (await states(daemon))[project] == "up"
        assert (await daemon.ready())[0] == 200
        assert await daemon.stop() == 0
    # Nor at a start: what was watched before is watched.
    late = scene.found("second")
    async with running(scene.program) as daemon:
        await until(daemon, project, "up")
        await until(daemon, late, "up")  # nobody knows better
        assert len(daemon.log("organization.trouble")) == 1
        scene.api.add_admin_key(ADMIN_KEY)
        assert await daemon.stop() == 0


async def test_a_list_that_never_answers_delays_a_start_by_seconds_only(scene):
    project = scene.found("first")
    scene.configure()
    rule = scene.api.fault(f"GET {LISTS}", Fault.hang(), times=None)
    async with running(scene.program) as daemon:
        await until(daemon, project, "up")
        assert daemon.log("organization.begins_without_list")
        rule.lift()
        assert await daemon.stop() == 0


async def test_without_an_admin_key_the_files_are_the_projects(scene):
    project = scene.found("first")
    (scene.keys / "README").write_text("no key")
    (scene.keys / f"{project}.bak").write_text("no key either")
    scene.configure(admin=False)
    job = scene.api.add_job(project="first", outcome="paused").id
    async with running(scene.program) as daemon:
        await eventually(lambda: knows(daemon, job), "the job is known")
        assert await states(daemon) == {project: "up"}
        another = scene.found("second")
        await until(daemon, another, "up")
        assert await daemon.stop() == 0
    assert scene.api.requests.count(f"GET {LISTS}") == 0


async def test_a_key_that_is_taken_out_and_brought_back(scene):
    project = scene.found("first")
    job = scene.api.add_job(project="first", steps=2000).id
    scene.configure()
    async with running(scene.program) as daemon:
        await eventually(lambda: knows(daemon, job), "the job is known")
        (scene.keys / project).unlink()
        await daemon.logged("organization.no_longer_watching", source=project)
        part = await daemon.part("sources", project)
        assert part["state"] == "orphaned"
        assert part["reason"].startswith("no key: ")
        scene.write_key("first")
        await until(daemon, project, "up")
        scene.api.set_status(job, "cancelled")
        await eventually(
            lambda: "fine_tuning.job.cancelled" in scene.told("first"), "it goes on"
        )
        assert scene.told("first").count("tunewatch.job.discovered") == 1
        assert await daemon.stop() == 0


async def test_a_mounted_secret_is_followed_through_its_links(scene):
    """Kubernetes swaps a directory behind `..data` when a secret changes."""
    project = scene.found("first", key=False)

    def mount(version: str, **files: str) -> None:
        directory = scene.keys / f"..{version}"
        directory.mkdir()
        for name, text in files.items():
            (directory / name).write_text(text)
            link = scene.keys / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        swap = scene.keys / "..data_tmp"
        swap.symlink_to(directory.name)
        swap.replace(scene.keys / "..data")

    mount("2026_1", **{project: "sk-wrong"})
    scene.configure()
    async with running(scene.program) as daemon:
        await until(daemon, project, "refused")
        mount("2026_2", **{project: "sk-first"})
        await until(daemon, project, "up")
        assert await daemon.stop() == 0


async def test_filters_are_of_ids_and_titles(scene):
    wanted = [scene.found("alpha"), scene.found("beta"), scene.found("gamma")]
    scene.configure(f'include = ["The *a", "{wanted[2]}"]\nexclude = ["The beta"]\n')
    async with running(scene.program) as daemon:
        assert sorted(await states(daemon)) == sorted([wanted[0], wanted[2]])
        reason = (await daemon.part("organizations", "acme"))["reason"]
        assert reason == "2 of 3 projects are watched; 1 are left out"
        assert await daemon.stop() == 0


async def test_a_project_with_a_table_of_its_own_is_left_to_it(scene):
    project = scene.found("first")
    scene.configure(
        f'[sources.{project}]\nbase_url = "{scene.url}"\napi_key = "sk-first"\n'
        f"requests_per_minute = 77\n{QUICK}".replace(
            "requests_per_minute = 60000\n", ""
        )
    )
    async with running(scene.program) as daemon:
        await until(daemon, project, "up")
        assert not daemon.log("organization.watching")
        reason = (await daemon.part("organizations", "acme"))["reason"]
        assert reason == "0 of 0 projects are watched"
        assert await daemon.stop() == 0


async def test_projects_come_and_go_with_the_tables_that_are_read_again(scene):
    alpha, beta = scene.found("alpha"), scene.found("beta")
    jobs = [
        scene.api.add_job(project=name, steps=10, outcome="paused", at=0.5).id
        for name in ("alpha", "beta")
    ]
    table = (
        f'[sources.{alpha}]\nbase_url = "{scene.url}"\napi_key = "sk-alpha"\n'
        f'backfill = "all"\n{QUICK}'
    )
    scene.configure()
    async with running(scene.program) as daemon:

        async def reload(more: str) -> None:
            before = len(daemon.log("config.reloaded"))
            scene.configure(more)
            daemon.process.send_signal(signal.SIGHUP)
            await eventually(
                lambda: len(daemon.log("config.reloaded")) > before, "it is reloaded"
            )

        await eventually(lambda: knows(daemon, *jobs), "both jobs are known")
        # What concerns neither: a plugin, and nothing begins anew.
        await reload("[plugins.prometheus]\nwindow = '2h'\n")
        assert len(daemon.log("organization.watching")) == 2
        # The organisation's own: its projects are decided about anew.
        await reload('exclude = ["The beta"]\n')
        await until(daemon, alpha, "up")
        await until(daemon, beta, "orphaned")
        # A table for one of them takes it over, and gives it back.
        await reload(f'exclude = ["The beta"]\n{table}')
        await until(daemon, alpha, "up")

        async def is_left_to_it() -> bool:
            reason = (await daemon.part("organizations", "acme"))["reason"]
            return "0 of 1 projects are watched" in reason

        await eventually(is_left_to_it, "it has a table of its own")
        await reload("")
        await until(daemon, alpha, "up")
        await until(daemon, beta, "up")
        new = scene.api.add_job(project="beta", steps=10, outcome="paused", at=0.5).id
        await eventually(lambda: knows(daemon, new), "a new job is known")
        assert not daemon.log("loop.died")
        assert await daemon.stop() == 0
    for name in ("alpha", "beta"):
        assert (
            scene.told(name).count("tunewatch.job.discovered")
            == ({"alpha": 1, "beta": 2}[name])
        )


async def test_a_source_moves_into_its_organisation_with_all_it_has(scene):
    project = scene.found("first")
    job = scene.api.add_job(project="first", steps=10, outcome="paused", at=0.5).id
    old = f'[sources.research]\nbase_url = "{scene.url}"\napi_key = "sk-first"\n'
    hook = (
        f'[plugins.ops]\nkind = "webhook"\nurl = "{scene.hook}"\nsecret = "{SECRET}"\n'
        'allow_hosts = ["127.0.0.1"]\nevents = ["*"]\n'
    )
    configure(scene.program, f'{old}backfill = "all"\n{QUICK}{hook}')
    async with running(scene.program) as daemon:
        await eventually(lambda: knows(daemon, job), "the job is known")
        assert await daemon.stop() == 0
    scene.configure(f'renamed_from = {{ {project} = "research" }}\n')
    async with running(scene.program) as daemon:
        await daemon.logged("source.renamed", source=project, renamed_from="research")
        await until(daemon, project, "up")
        assert await states(daemon) == {project: "up"}
        assert await daemon.stop() == 0
    told = [one.json()["type"] for one in scene.receiver.accepted]
    assert told.count("tunewatch.job.discovered") == 1


async def test_a_project_takes_its_webhooks_as_soon_as_there_is_a_secret(scene):
    project = scene.found("first")
    scene.configure()
    body = event("ftjob-1", "failed", at=1)
    now = time.time()

    async with running(scene.program) as daemon:
        await until(daemon, project, "up")

        async def posted(secret: str, ident: str) -> int:
            url = f"http://127.0.0.1:{daemon.port}/hooks/openai/{project}"
            headers = signed(ident, body, secret=secret, now=now)
            async with daemon.session.post(url, data=body, headers=headers) as answer:
                return answer.status

        assert await posted(SECRET, "wh_1") == 404
        secret_file = scene.keys / f"{project}.webhook"
        secret_file.write_text("sk-canary-none")
        await daemon.logged("webhook.secret_unusable", source=project)
        assert await posted(SECRET, "wh_1") == 404
        secret_file.write_text(SECRET)
        await eventually(lambda: is_taken(posted), "its webhooks are taken")
        assert len(daemon.log("webhook.secret_unusable")) == 1
        assert await daemon.stop() == 0


async def is_taken(posted: Any) -> bool:
    return bool(await posted(SECRET, "wh_1") == 204)


async def test_once_does_what_is_due_in_every_project(scene):
    for name in ("first", "second", "third"):
        scene.found(name)
        scene.api.add_job(project=name, outcome="paused", start=0.0)
    scene.found("late", key=False)
    scene.configure()
    async with running(scene.program, "--once", wait=False) as daemon:
        assert await daemon.process.wait() == 0
    for name in ("first", "second", "third"):
        assert "fine_tuning.job.paused" in scene.told(name)
    scene.api.admin_keys.clear()
    async with running(scene.program, "--once", wait=False) as daemon:
        assert await daemon.process.wait() == 69


async def test_check_lists_the_projects_and_says_where_keys_belong(scene):
    scene.found("first")
    missing = scene.found("second", key=False)
    old = scene.found("third")
    scene.api.archive_project("third")
    scene.configure()
    done = await ended(scene.program, "check")
    assert done.code == 0, done.out + done.err
    lines = done.out.splitlines()
    assert (
        "ok      organization acme: 1 of 3 projects are watched; 1 have no key yet, "
        "1 are archived"
    ) in lines
    assert (
        f"note    project {missing} (The second): no key yet: put one in "
        f"{scene.keys}/{missing}"
    ) in lines
    assert any(f"source {scene.ids['first']} (The first): " in one for one in lines)
    assert not any(old in one for one in lines)
    assert ADMIN_KEY not in done.out + done.err
    scene.api.admin_keys.clear()
    done = await ended(scene.program, "check")
    assert done.code == 69
    assert "failed  organization acme: asked " in done.out


async def test_a_kind_that_has_no_projects_stops_the_start(scene):
    azure = 'kind = "azure"\nendpoint = "https://a.openai.azure.com"\nentra = true\n'
    scene.configure(azure)
    path = scene.program.directory / "tunewatch.toml"
    path.write_text(path.read_text().replace(f'base_url = "{scene.url}"\n', ""))
    for command in ("run", "check"):
        done = await ended(scene.program, command)
        assert done.code == 2
        assert "organizations.acme.kind: wanted a kind that has organis" in done.err


async def test_two_replicas_share_the_projects_and_one_takes_over_from_the_other(
    scene, postgres_url, tmp_path_factory
):
    names = [f"team-{number}" for number in range(6)]
    for name in names:
        scene.found(name)
    scene.configure(state=postgres_url)
    other = Program(tmp_path_factory.mktemp("replica"), dict(scene.program.environ))

    async def up(daemon: Running) -> set[str]:
        return {name for name, one in (await states(daemon)).items() if one == "up"}

    async with running(scene.program) as first, running(other) as second:
        projects = set(scene.ids.values())

        async def all_are_up_once() -> bool:
            mine, theirs = await up(first), await up(second)
            return mine | theirs == projects and not mine & theirs

        await eventually(all_are_up_once, "each project lives on one replica")
        first.process.kill()

        async def second_has_all() -> bool:
            return await up(second) == projects

        await eventually(second_has_all, "the other takes over", within=40)
        job = scene.api.add_job(project="team-0", outcome="paused").id
        await scene.receiver.wait_until(
            lambda got: any(one.json()["data"]["id"] == job for one in got), within=30
        )
        late = scene.found("late")
        await until(second, late, "up")
        assert await second.stop() == 0
