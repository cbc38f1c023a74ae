"""The image: what its Dockerfile says, built and run as far as it goes with no engine.

`make test` takes this machine's packages for those of the lock; `make image-check`
installs what the lock says.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.distribution import ROOT
from support.dockerfile import Step, stages
from support.image_files import OURS_PYTHON, Built, build, confined
from support.loopback import alone
from support.manifests import overlay
from tunewatch import __version__
from tunewatch.testing import DEFAULT_KEY

DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REVISION = "0123456789abcdef0123456789abcdef01234567"
LENT = "/lent"
"""Where the image made by `make test` has the packages of these tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """A user that a container runs as, and whose its volumes are."""

    user: int
    group: int
    volumes: int  #: the supplementary group, `fsGroup`
    is_own_state: bool  #: /var/lib/tunewatch is the image's own, not a volume


KUBERNETES = Who(user=65532, group=65532, volumes=65532, is_own_state=False)
ANY = Who(user=1_000_720_000, group=0, volumes=1_000_720_000, is_own_state=True)
"""As OpenShift has it: a number out of the namespace's range, in group 0."""


def _final() -> Any:
    return stages(DOCKERFILE)[-1]


def _locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def test_both_stages_stand_on_one_base_pinned_by_digest():
    bases = {stage.base for stage in stages(DOCKERFILE)}
    (base,) = bases
    assert re.fullmatch(r"python:3\.13\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


def test_what_pip_installs_is_hashed_and_comes_as_a_wheel():
    (building, _) = stages(DOCKERFILE)
    installs = [one.text for one in building.steps if " install --req" in one.text]
    assert len(installs) == 2
    for text in installs:
        assert "--require-hashes" in text
        assert "--only-binary :all:" in text
    others = [one.text for one in building.steps if "bin/pip" in one.text]
    for text in set(others) - set(installs):
        assert "--no-index" in text, text


@pytest.mark.parametrize("name", ["image", "image-slim", "build"])
def test_locks_of_the_image_have_the_versions_that_are_tested(name):
    locked, tested = _locked(name), _locked("dev")
    assert locked
    assert locked.items() <= tested.items()
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_image_has_every_extra_and_the_slim_one_all_but_wandb():
    extras = PROJECT["optional-dependencies"]
    for name, left_out in (("image", {"all"}), ("image-slim", {"all", "wandb"})):
        needed = {
            re.split(r"[^a-z0-9-]", one)[0]
            for extra in extras.keys() - left_out
            for one in (*extras[extra], *PROJECT["dependencies"])
        }
        assert needed <= _locked(name).keys()
    assert "wandb" not in _locked("image-slim")
    assert "pytest" not in _locked("image")
    assert "hatchling" not in _locked("image")


def test_the_image_says_who_it_is_and_how_it_ends():
    final = _final()
    labels = final.last("LABEL").pairs({"VERSION": "1", "REVISION": "2"})
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert labels["org.opencontainers.image.description"] == PROJECT["description"]
    versions = [step.pairs({}) for step in final.steps if step.word == "ARG"]
    assert {"VERSION": __version__} in versions
    assert final.last("STOPSIGNAL").text == "SIGTERM"
    assert final.last("ENTRYPOINT").exec_form == ["/app/bin/tunewatch"]
    assert final.last("CMD").exec_form == ["run"]


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_the_image_and_the_manifests_mean_the_same_user_port_and_folders(name):
    found, final = overlay(name), _final()
    user, group = map(int, final.last("USER").text.split(":"))
    context = found.pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (user, group)
    assert user != 0
    (port,) = found.container["ports"]
    assert str(port["containerPort"]) == final.last("EXPOSE").text
    assert found.container["args"] == final.last("CMD").exec_form
    assert final.last("RUN").exec_form[-1] == found.mount("state")["mountPath"]
    environ = final.last("ENV").pairs({"PATH": ""})
    assert environ["HOME"] == found.mount("tmp")["mountPath"]
    state = Path(environ["XDG_STATE_HOME"], "tunewatch")
    assert state == Path(found.mount("state")["mountPath"])


def test_the_context_lets_in_what_is_copied_and_no_secret_and_no_history():
    (building, _) = stages(DOCKERFILE)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word.rstrip("/")
        for step in building.steps
        if step.word == "COPY"
        for word in step.text.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in let_in)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the image's files, but take the packages of these tests for the locked."""
    directory = tmp_path_factory.mktemp("quick")
    site = Path(sysconfig.get_path("purelib"))
    lent = directory / "lent"
    lent.mkdir()
    for one in site.iterdir():
        # Neither the tree itself nor what makes Python look for it.
        if "tunewatch" not in one.name and one.suffix != ".pth":
            (lent / one.name).symlink_to(Path("/site", one.name))

    def instead(built: Built, step: Step) -> bool:
        if " install --require-hashes" not in step.text:
            return False
        prefix = "app" if "/app/" in step.text else "tools"
        (found,) = built.inside(f"/{prefix}/lib").glob("python3*/site-packages")
        (found / "lent.pth").write_text(f"{LENT}\n")
        return True

    options = ("--ro-bind", str(lent), LENT, "--ro-bind", str(site), "/site")
    return build(
        DOCKERFILE,
        context=ROOT,
        directory=directory,
        instead=instead,
        lent=options,
        arguments={"REVISION": REVISION},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Build the image's files by a lock, with every step as it is written, once."""

    @cache
    def by(lock: str) -> Built:
        return build(
            DOCKERFILE,
            context=ROOT,
            directory=tmp_path_factory.mktemp(lock),
            python=_its_python(),
            arguments={"LOCK": lock},
        )

    return by


def _its_python() -> Path:
    """Return the prefix of a Python as the base image has, or that of these tests."""
    named = re.match(r"python:(\d\.\d+)", _final().base)
    assert named is not None
    ask = [f"python{named[1]}", "-c", "import sys; print(sys.base_prefix)"]
    if shutil.which(ask[0]):
        told = subprocess.run(ask, capture_output=True, text=True, check=False)
        if told.returncode == 0:  # a shim may be there for one that is not
            return Path(told.stdout.strip())
    return OURS_PYTHON


def _ran(
    built: Built,
    who: Who,
    directory: Path,
    *,
    name: str = "sqlite",
    awaited: int = 200,
    more: str = "",
    until: str | None = None,
) -> dict[str, Any]:
    """Run the entry point with an overlay's files, volumes and variables.

    `awaited` is what /readyz has to say; `more` further configuration; `until` a file
    that has to appear before it ends.
    """
    found = overlay(name)
    further = Path(found.mount("config")["mountPath"], "conf.d", "more.toml")
    for path, text in (*found.files(), (further, more)):
        here = directory / "etc" / path.relative_to(found.mount("config")["mountPath"])
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(text)
    secrets = directory / "secrets"
    secrets.mkdir()
    for one in (secrets, *(directory / "etc").rglob("*"), directory / "etc"):
        one.chmod(0o755)  # whatever our umask is: kubelets have their own
    for key in ("openai-api-key", "database-password"):
        (secrets / key).write_text(DEFAULT_KEY)
        (secrets / key).chmod(found.volume("secrets")["projected"]["defaultMode"])
        os.chown(secrets / key, 0, who.volumes)
    state = directory / "state"
    if who.is_own_state:
        state = built.inside(found.mount("state")["mountPath"])
    else:  # as a kubelet hands a volume to fsGroup
        state.mkdir()
        os.chown(state, 0, who.volumes)
        state.chmod(0o2770)
    volumes = [
        *("--ro-bind", str(directory / "etc"), found.mount("config")["mountPath"]),
        *("--ro-bind", str(secrets), found.mount("secrets")["mountPath"]),
        *("--bind", str(state), found.mount("state")["mountPath"]),
        *("--perms", "1777", "--tmpfs", found.mount("tmp")["mountPath"]),
    ]
    rights = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
    user = [
        *("setpriv", f"--reuid={who.user}", f"--regid={who.group}"),
        *(f"--groups={who.volumes}", "--no-new-privs", *rights),
    ]
    given = {one["name"]: one["value"] for one in found.container["env"]}
    plan = {
        "until": until,
        "awaited": awaited,
        "environ": {**built.environ, **given},
        "bwrap": confined(built, volumes=volumes, user=user),
    }
    path = directory / "plan.json"
    path.write_text(json.dumps(plan))
    seen: dict[str, Any] = json.loads(
        alone("support.image_worker", [str(path)], seconds=110)
    )
    return seen


def _is_well(seen: Mapping[str, Any], who: Who) -> None:
    assert seen["ready"]["ready"] is True
    assert seen["answers"] == {
        "/livez": 200,
        "/readyz": 200,
        "/metrics": 200,
        "/api/v1/jobs": 403,
    }
    status = seen["status"]
    assert set(status["Uid"]) == {str(who.user)}
    assert set(status["Gid"]) == {str(who.group)}
    assert set(status["CapEff"] + status["CapBnd"]) == {"0" * 16}
    assert status["NoNewPrivs"] == ["1"]
    assert status["NSpid"][-1] == "1"
    volumes = (overlay("sqlite").mount(name) for name in ("state", "tmp"))
    assert seen["writable"] == sorted(one["mountPath"] for one in volumes)
    assert seen["code"] == 0


@pytest.mark.parametrize("who", [KUBERNETES, ANY], ids=["kubernetes", "any user"])
def test_the_entry_point_runs_unprivileged_on_a_read_only_root(quick, who, tmp_path):
    _is_well(_ran(quick, who, tmp_path), who)


def test_without_its_database_it_is_alive_and_not_ready_and_a_restart_is_not_asked_for(
    quick, tmp_path
):
    """With the PostgreSQL overlay's configuration, where nothing has that name."""
    seen = _ran(quick, KUBERNETES, tmp_path, name="postgres", awaited=503)
    assert seen["answers"]["/livez"] == 200
    assert seen["answers"]["/readyz"] == 503
    assert seen["ready"]["store"]["state"] == "unavailable"
    assert seen["code"] == 0


def test_the_wheel_is_installed_and_compiled_and_pip_stays_behind(quick):
    app = quick.inside("/app")
    (site,) = app.glob("lib/python3*/site-packages")
    module = site / "tunewatch" / "app" / "daemon.py"
    assert module.exists()
    assert list((module.parent / "__pycache__").glob("daemon.*.pyc"))
    assert (site / "tunewatch" / "revision.txt").read_text() == f"{REVISION}\n"
    assert not list(site.glob("pip*"))
    assert not list(site.glob("__editable__*"))
    assert quick.inside("/var/lib/tunewatch").stat().st_mode & 0o7777 == 0o770


@pytest.mark.image
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("lock", "largest"), [("image", 250e6), ("image-slim", 160e6)])
def test_the_image_holds_what_is_locked_and_nothing_else(whole, lock, largest):
    (site,) = whole(lock).inside("/app").glob("lib/python3*/site-packages")
    names = (one.name.partition("-")[0] for one in site.glob("*.dist-info"))
    found = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    assert found > {"tunewatch", "aiomqtt", "asyncpg", "uvloop", "cryptography"}
    assert found - {"tunewatch"} <= _locked(lock).keys()
    size = sum(one.stat().st_size for one in site.rglob("*") if one.is_file())
    assert size < largest, f"{size / 1e6:.0f} MB in {len(found)} packages"


@pytest.mark.image
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", [KUBERNETES, ANY], ids=["kubernetes", "any user"])
def test_with_what_is_locked_it_runs_the_same_and_wandb_keeps_its_runs(
    whole, who, tmp_path
):
    """W&B starts a helper process and wants a home and a name for whoever it is."""
    more = '[plugins.wandb]\nmode = "offline"\nproject = "fine-tuning"\n'
    run = "var/lib/tunewatch/plugins/wandb/**/*.wandb"
    _is_well(_ran(whole("image"), who, tmp_path, more=more, until=run), who)


@pytest.mark.image
@pytest.mark.timeout(900)
def test_the_slim_image_runs_the_same(whole, tmp_path):
    _is_well(_ran(whole("image-slim"), ANY, tmp_path), ANY)
