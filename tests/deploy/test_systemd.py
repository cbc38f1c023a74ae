"""From nothing to a running unit and back, in a systemd that was booted for it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from support.booted_systemd import booted_systemd
from support.distribution import ROOT, write_package

PROGRAM = "/usr/local/lib/tunewatch"
SETTINGS = "/etc/tunewatch/tunewatch.toml"
CHECK = f"env LD_LIBRARY_PATH=/run/python/lib tunewatch --config {SETTINGS} check"
KEY = "sk-of-the-unit-test"
PORT = 9900
GOOD = f"""
[sources.openai]
base_url = "http://127.0.0.1:{PORT}/v1"
api_key_credential = "key_openai"
poll_interval = "200ms"
idle_interval = "200ms"
backfill = "all"
[plugins.wedge]
events = ["*"]
"""
LIBRARY = "LD_LIBRARY_PATH=/run/python/lib"
"""Our Python was moved there, and may have its library beside it."""
QUICK = f"""
[Service]
WatchdogSec=2
RestartSec=100ms
TimeoutAbortSec=1
Environment={LIBRARY}
"""
WEDGE = """
import subprocess, time
from contextlib import asynccontextmanager
from pathlib import Path
from pydantic import BaseModel, ConfigDict
from tunewatch.plugin import Plugin

class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

class Wedge:
    async def deliver(self, delivery):
        while Path("/etc/tunewatch/wedged").exists():
            time.sleep(0.05)

@asynccontextmanager
async def opened(settings, context):
    helper = subprocess.Popen(["sleep", "600"])
    try:
        yield Wedge()
    finally:
        time.sleep(0.2)  # long enough for a signal to everybody to arrive
        fate = "alive" if helper.poll() is None else "dead"
        (context.state_dir / "helper").write_text(fate)

PLUGIN = Plugin(settings=Settings, events=("*",), open=opened)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Boot once for all; what takes the place of an index is seen in it."""
    place = tmp_path_factory.mktemp("booted")
    wedge = write_package(
        place,
        "wedge",
        {"tunewatch.plugins": {"wedge": "wedge:PLUGIN"}},
        {"wedge": WEDGE},
    )
    seen = {
        ROOT: "/run/checkout",
        Path(sys.base_prefix): "/run/python",
        Path(sysconfig.get_path("purelib")): "/run/packages",
        wedge: "/run/wedge",
    }
    with booted_systemd(place / "machine", seen) as machine:
        yield machine


@pytest.fixture(scope="module")
def api(machine):
    """Serve jobs on the machine's loopback."""
    command = [sys.executable, "-m", "tunewatch", "simulate", "--port", str(PORT)]
    with subprocess.Popen(machine.beside(*command, "--key", KEY)) as process:
        yield
        process.kill()


@pytest.fixture(scope="module")
def installed(machine, api):
    """Install as a person does; the packages that pip wants are there already."""
    machine.run(f"/run/python/bin/python3 -m venv --without-pip {PROGRAM}")
    site = machine.out(f"echo {PROGRAM}/lib/python3*/site-packages")
    machine.write(f"{site}/there.pth", "/run/packages\n/run/wedge\n")
    said = machine.out(
        "PYTHON=/run/python/bin/python3 /run/checkout/deploy/systemd/install"
    )
    assert "systemctl enable --now tunewatch" in said
    machine.run(f"umask 077; printf {KEY} >/etc/tunewatch/credentials/openai")
    machine.write(SETTINGS, GOOD)
    machine.write("/etc/systemd/system/tunewatch.service.d/quick.conf", QUICK)
    machine.run("systemctl daemon-reload")
    return machine


@pytest.fixture
def service(installed):
    """Lend it in good order and running."""
    installed.write(SETTINGS, GOOD)
    installed.run("systemctl reset-failed tunewatch", fails=True)
    installed.run("systemctl start tunewatch")
    return installed


def shown(machine, key):
    return machine.show("tunewatch", key)


def answer(machine, path):
    """Ask the daemon, on the machine's own network."""
    ask = (
        "import sys, urllib.request as r;"
        "sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())"
    )
    url = f"http://127.0.0.1:9478{path}"
    command = machine.beside(sys.executable, "-c", ask, url)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_what_was_installed_starts_and_says_how_it_is(service):
    assert shown(service, "ActiveState") == "active"
    assert "watches 1 source" in shown(service, "StatusText")
    report = json.loads(answer(service, "/readyz"))
    assert report["ready"]
    service.eventually(
        lambda: (
            json.loads(answer(service, "/readyz"))["sources"]["openai"]["state"] == "up"
        ),
        "the key came as a credential",
    )
    as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    url = "TUNEWATCH_URL=http://127.0.0.1:9478"
    ask = f"{as_nobody} env {LIBRARY} {url} tunewatch jobs"
    assert "ftjob-" in service.out(ask)
    checking = "--property=LoadCredential=key:/etc/tunewatch/credentials"
    found = service.run(f"systemd-run --quiet --pipe --wait {checking} {CHECK}")
    assert "ok      source openai" in found.stdout
    assert service.run("systemd-analyze verify --man=no tunewatch.service").stderr == ""


def test_it_sees_and_may_only_what_it_needs(service):
    pid = shown(service, "MainPID")
    status = dict(
        line.split(":", 1)
        for line in service.out(f"cat /proc/{pid}/status").splitlines()
    )
    uid = status["Uid"].split()[0]
    assert int(uid) >= 61184, "a user that exists only meanwhile"
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    assert {status[key].strip() for key in ("CapEff", "CapBnd")} == {"0" * 16}
    inside = (
        f"nsenter -t {pid} -m -- setpriv --reuid={uid} --regid={uid} --clear-groups "
    )

    def may(command):
        return service.run(f"{inside} sh -c '{command}'", fails=True).returncode == 0

    assert may("test -r /run/credentials/tunewatch.service/key_openai")
    assert not may("cat /etc/tunewatch/credentials/openai")
    assert may(f"cat {SETTINGS}")
    for place in ("/etc/x", "/usr/x", "/var/x", "/run/x", "/etc/tunewatch/x"):
        assert not may(f"touch {place}"), place
    assert may("touch /var/lib/tunewatch/x /tmp/x")
    assert not may("ls /root /home"), "no home of anybody"
    # For the kernel, not only by permissions.
    assert (
        "read-only"
        in service.run(
            f"nsenter -t {pid} -m -- touch /etc/x", fails=True
        ).stderr.lower()
    )
    assert KEY not in service.out(
        f"tr '\\0' '\\n' </proc/{pid}/environ; cat {SETTINGS}"
    )
    assert service.out("stat -c %a /var/lib/private/tunewatch") == "700"
    metrics = answer(service, "/metrics")
    assert "process_resident_memory_bytes" in metrics, "/proc without the machine"


def test_a_reload_is_seen_by_systemd_good_or_bad(service):
    pid = shown(service, "MainPID")
    service.write(SETTINGS, GOOD.replace("200ms", "300ms"))
    service.run("systemctl reload tunewatch")
    service.eventually(
        lambda: "config_last_reload_successful 1" in answer(service, "/metrics"),
        "it was taken",
    )
    service.write(SETTINGS, GOOD + 'urll = "x"\n')
    service.run("systemctl reload tunewatch")
    service.eventually(
        lambda: "plugins.wedge.urll" in shown(service, "StatusText"), "the reason"
    )
    assert "config_last_reload_successful 0" in answer(service, "/metrics")
    service.write(SETTINGS, GOOD)
    service.run("systemctl reload tunewatch")
    service.eventually(
        lambda: "refused" not in shown(service, "StatusText"), "it is well again"
    )
    assert shown(service, "MainPID") == pid
    assert shown(service, "ActiveState") == "active"


def test_a_loop_that_hangs_is_killed_by_the_watchdog_and_started_again(service):
    before, pid = int(shown(service, "NRestarts")), shown(service, "MainPID")
    service.run("touch /etc/tunewatch/wedged")
    try:
        service.eventually(
            lambda: int(shown(service, "NRestarts")) > before, "it is restarted"
        )
    finally:
        service.run("rm /etc/tunewatch/wedged")
    service.eventually(
        lambda: shown(service, "ActiveState") == "active", "it works again"
    )
    assert shown(service, "MainPID") != pid


def test_what_is_killed_comes_back_and_goes_on(service):
    before = int(shown(service, "NRestarts"))
    service.run(f"kill -KILL {shown(service, 'MainPID')}")
    service.eventually(
        lambda: (
            int(shown(service, "NRestarts")) == before + 1
            and shown(service, "ActiveState") == "active"
        ),
        "it is back",
    )


def test_a_stop_is_in_order_and_helpers_outlive_the_signal(service):
    # W&B's own works as shut in as the rest, and comes by a reload.
    service.write(SETTINGS, GOOD + '[plugins.wandb]\nmode = "offline"\n')
    service.run("systemctl reload tunewatch")
    runs = "/var/lib/private/tunewatch/plugins/wandb/wandb/offline-run-*/*.wandb"
    service.eventually(
        lambda: service.run(f"ls {runs}", fails=True).stdout, "runs are kept"
    )
    assert service.out("pgrep -f wandb-cor[e]")
    service.run("systemctl stop tunewatch")
    assert shown(service, "Result") == "success"
    assert shown(service, "ExecMainStatus") == "0"
    kept = "/var/lib/private/tunewatch"
    assert service.out(f"cat {kept}/plugins/wedge/helper") == "alive"
    assert service.out(f"ls {kept}/state.db")
    left = service.run("pgrep -x sleep; pgrep -f wandb-cor[e]", fails=True)
    assert not left.stdout, "nothing is left"


def test_it_is_backed_up_and_restored_by_the_lines_that_the_page_has(service):
    service.eventually(lambda: jobs(service), "jobs are seen")
    before = jobs(service)
    for line in lines_about("Backups"):
        service.run(line.replace("tunewatch backup", f"env {LIBRARY} tunewatch backup"))
    assert shown(service, "ActiveState") == "active"
    assert before <= jobs(service)
    assert service.out("ls /var/backups/aside/state.db")
    where = "/var/lib/tunewatch"
    kept = service.out(f"stat -Lc '%u %a' {where}/state.db {where}").splitlines()
    file, directory = (line.split() for line in kept)
    assert file == [directory[0], "600"]


def lines_about(title):
    """Return what a section of the page says to type, as root."""
    page = (ROOT / "deploy/systemd/README.md").read_text()
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line[2:] for line in section.splitlines() if line.startswith("# ")]
    assert len(lines) > 1
    return lines


def jobs(machine):
    """Return the ids of the jobs that the daemon knows."""
    listed = json.loads(answer(machine, "/api/v1/jobs"))["data"]
    return {one["job"]["id"] for one in listed}


def test_a_configuration_error_ends_it_once_and_for_all(service):
    service.write(SETTINGS, GOOD + 'urll = "x"\n')
    assert service.run("systemctl restart tunewatch", fails=True).returncode != 0
    assert shown(service, "ExecMainStatus") == "2"
    time.sleep(1.0)  # ten times RestartSec
    assert shown(service, "ActiveState") == "failed"
    assert shown(service, "NRestarts") == "0"


def test_installing_again_keeps_what_is_set_and_restarts_what_runs(service):
    pid = shown(service, "MainPID")
    service.run("PYTHON=/run/python/bin/python3 /run/checkout/deploy/systemd/install")
    assert service.out(f"cat {SETTINGS}") == GOOD.strip()
    assert shown(service, "ActiveState") == "active"
    assert shown(service, "MainPID") != pid


def test_uninstalling_leaves_settings_and_state_and_purging_nothing(service):
    service.run("/run/checkout/deploy/systemd/install --uninstall")
    assert shown(service, "LoadState") == "not-found"
    assert service.run(f"ls {PROGRAM} /usr/local/bin/tunewatch", fails=True).returncode
    assert service.out(f"ls {SETTINGS} /var/lib/private/tunewatch/state.db")
    service.run("/run/checkout/deploy/systemd/install --purge")
    left = "/etc/tunewatch /var/lib/private/tunewatch /var/lib/tunewatch"
    assert not service.run(f"ls -d {left}", fails=True).stdout
