"""The manifests: what a cluster would take, what its policies ask, what we promise."""

from __future__ import annotations

import copy
import ipaddress
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from support.distribution import ROOT
from support.manifests import (
    COMPONENTS,
    KUBERNETES,
    OVERLAYS,
    Rendered,
    overlay,
    rendered,
)
from support.own_overlay import own
from support.pod_security import RULES, violations
from tunewatch import __version__
from tunewatch.config.web_reading import read_web_file
from tunewatch.settings import parse_duration
from tunewatch.store.leases import TTL

VERSIONS = ("1.29", "1.33", "1.37")
"""Of Kubernetes: the oldest that we name, today's newest, and one between."""

LABELS = {"app.kubernetes.io/name": "tunewatch"}
MARGIN = 30.0
"""s that a pod has beyond `shutdown_grace`: plugins close what they hold."""

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


@cache
def everything(name: str) -> Rendered:
    """Render an overlay with all components at once."""
    return own(KUBERNETES / "overlays" / name, components=COMPONENTS)


def megabytes(quantity: str) -> float:
    units = {"Mi": 1.0, "Gi": 1024.0}
    return float(quantity[:-2]) * units[quantity[-2:]]


@every_overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_knows_by_that_kind(name, version):
    for one in overlay(name).objects:
        kubernetes_validate.validate(one, version, strict=True)


@every_overlay
def test_a_misspelt_field_would_be_found(name):
    deployment = copy.deepcopy(overlay(name).one("Deployment"))
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@every_overlay
def test_every_object_is_in_the_namespace_and_says_whose_it_is(name):
    for one in everything(name).objects:
        assert one["metadata"]["labels"].items() >= LABELS.items(), one
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == "tunewatch", one


@every_overlay
def test_nothing_is_rendered_with_a_warning(name):
    # What is deprecated is only said, on stderr.
    kubectl = Path(sys.executable).with_name("kubectl")
    directory = KUBERNETES / "overlays" / name
    done = subprocess.run(
        [kubectl, "kustomize", directory], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@every_overlay
def test_pods_are_within_the_restricted_profile_with_and_without_components(name):
    for found in (overlay(name), everything(name)):
        assert violations(found.pod) == []
    levels = overlay(name).one("Namespace")["metadata"]["labels"]
    assert levels["pod-security.kubernetes.io/enforce"] == "restricted"


def _on(where: str, **changes: Any) -> Any:
    def change(pod: dict[str, Any]) -> None:
        (pod if where == "pod" else pod["containers"][0]).update(changes)

    return change


def _context(where: str, **changes: Any) -> Any:
    def change(pod: dict[str, Any]) -> None:
        of = pod if where == "pod" else pod["containers"][0]
        of["securityContext"].update(changes)

    return change


WRONG: dict[str, Any] = {
    "host_process": _context("pod", windowsOptions={"hostProcess": True}),
    "host_namespaces": _on("pod", hostPID=True),
    "privileged": _context("container", privileged=True),
    "host_ports": _on(
        "container", ports=[{"name": "x", "containerPort": 1, "hostPort": 1}]
    ),
    "host_probes": _on(
        "container", livenessProbe={"httpGet": {"host": "10.0.0.1", "port": 1}}
    ),
    "app_armor": _context("container", appArmorProfile={"type": "Unconfined"}),
    "selinux": _context("pod", seLinuxOptions={"user": "root"}),
    "proc_mount": _context("container", procMount="Unmasked"),
    "sysctls": _context("pod", sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "volume_types": _on("pod", volumes=[{"name": "x", "hostPath": {"path": "/"}}]),
    "privilege_escalation": _context("container", allowPrivilegeEscalation=None),
    "running_as_non_root": _context("container", runAsNonRoot=False),
    "root_user": _context("pod", runAsUser=0),
    "seccomp": _context("container", seccompProfile={"type": "Unconfined"}),
    "capabilities": _context("container", capabilities={"drop": ["CHOWN"]}),
}


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_each_rule_of_the_profile_finds_what_breaks_it(rule):
    pod = copy.deepcopy(overlay("sqlite").pod)
    WRONG[rule](pod)
    assert [found for found in violations(pod) if found.startswith(f"{rule}: ")]


@every_overlay
def test_beyond_the_profile_the_root_is_read_only_and_the_cluster_is_not_asked(name):
    found = overlay(name)
    assert found.container["securityContext"]["readOnlyRootFilesystem"] is True
    assert found.pod["automountServiceAccountToken"] is False
    assert found.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert found.pod["enableServiceLinks"] is False
    assert not found.of("Role") + found.of("ClusterRole") + found.of("Secret")
    writable = {
        mount["name"]
        for mount in found.container["volumeMounts"]
        if not mount.get("readOnly")
    }
    assert writable == {"state", "tmp"}


@every_overlay
def test_the_image_is_of_this_version_and_never_the_latest(name):
    image, _, tag = overlay(name).container["image"].rpartition(":")
    assert tag == __version__
    assert image.endswith("/tunewatch")


@every_overlay
def test_liveness_asks_the_loops_alone_and_readiness_the_rest(name):
    container = overlay(name).container
    asked = {
        probe: container[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked["startupProbe"]["path"] == "/livez"
    assert asked["livenessProbe"]["path"] == "/livez"
    assert asked["readinessProbe"]["path"] == "/readyz"
    (port,) = container["ports"]
    assert {one["port"] for one in asked.values()} == {port["name"]}
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 600
    deployment = overlay(name).one("Deployment")["spec"]
    assert deployment["progressDeadlineSeconds"] > 600


@every_overlay
def test_a_pod_gets_longer_than_the_drain_may_take(name):
    (text,) = (
        text for path, text in overlay(name).files() if path.name == "tunewatch.toml"
    )
    grace = parse_duration(tomllib.loads(text)["daemon"]["shutdown_grace"])
    assert overlay(name).pod["terminationGracePeriodSeconds"] >= grace + MARGIN


@every_overlay
def test_the_configuration_is_what_this_version_takes(name, tmp_path):
    """With the files where the pod has them, by another root; `config` reads all."""
    found = overlay(name)
    secrets = found.mount("secrets")["mountPath"]
    for path, text in found.files():
        moved = tmp_path / path.relative_to("/etc/tunewatch")
        moved.parent.mkdir(exist_ok=True)
        moved.write_text(text.replace(secrets, str(tmp_path)))
    for key in re.findall(rf"{secrets}/([\w-]+)", str(list(found.files()))):
        (tmp_path / key).write_text("sk-made-up\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tunewatch", "config"),
            *("--config", str(tmp_path / "tunewatch.toml")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (daemon,) = [tomllib.loads(done.stdout)["daemon"]]
    scheme = {"sqlite": "sqlite:////var/lib/tunewatch/", "postgres": "postgresql://"}
    assert daemon["state"].startswith(scheme[name])
    (port,) = found.container["ports"]
    assert daemon["listen"] == f"0.0.0.0:{port['containerPort']}"


@every_overlay
def test_secrets_are_files_that_the_group_may_read_and_nobody_else(name):
    found = overlay(name)
    assert found.volume("secrets")["projected"]["defaultMode"] == 0o440
    assert found.pod["securityContext"]["fsGroup"] > 0
    assert found.mount("secrets")["readOnly"] is True
    for entry in found.container["env"]:
        assert "valueFrom" not in entry, entry
        assert not entry["name"].endswith(("KEY", "SECRET", "PASSWORD", "TOKEN"))


@every_overlay
def test_another_configuration_is_another_name_so_that_pods_are_replaced(name):
    was = overlay(name).one("ConfigMap")["metadata"]["name"]
    is_now = own(
        KUBERNETES / "overlays" / name,
        configMapGenerator=[
            {
                "name": "tunewatch",
                "namespace": "tunewatch",
                "behavior": "merge",
                "literals": ["tunewatch.toml=[sources.other]"],
            }
        ],
    )
    assert is_now.one("ConfigMap")["metadata"]["name"] != was
    assert dict(is_now.files()).keys() == dict(overlay(name).files()).keys()


@every_overlay
def test_memory_is_from_the_table_of_measurements(name):
    rows = re.findall(
        r"^\| .*? resident \| (\d+) MiB \|",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    most = max(map(float, rows))
    resources = overlay(name).container["resources"]
    assert most <= megabytes(resources["requests"]["memory"]) <= 1.25 * most
    assert 2 * most <= megabytes(resources["limits"]["memory"]) <= 3 * most
    assert "cpu" not in resources["limits"], "a throttled loop is late with everything"
    room = sum(
        megabytes(one["emptyDir"]["sizeLimit"])
        for one in overlay(name).pod["volumes"]
        if "emptyDir" in one
    )
    assert room < megabytes(resources["limits"]["ephemeral-storage"])


def test_with_sqlite_there_is_one_replica_which_ends_before_the_next_begins():
    found = overlay("sqlite")
    spec = found.one("Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    claim = found.one("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    volume = found.volume("state")["persistentVolumeClaim"]
    assert volume["claimName"] == claim["metadata"]["name"]
    assert found.of("PodDisruptionBudget") == [], "it would stop every drain"


def test_with_postgres_an_update_never_takes_a_replica_away_before_the_next_is_there():
    found = overlay("postgres")
    spec = found.one("Deployment")["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["minReadySeconds"] > TTL
    assert found.of("PersistentVolumeClaim") == []


def test_with_postgres_a_drain_takes_one_replica_at_a_time():
    found = overlay("postgres")
    budget = found.one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"]["matchLabels"] == LABELS
    spread = found.pod["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    for one in spread:
        assert one["labelSelector"]["matchLabels"] == LABELS
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"


@every_overlay
def test_selectors_find_the_pods_and_ports_have_names_that_exist(name):
    found = everything(name)
    template = found.one("Deployment")["spec"]["template"]
    assert template["metadata"]["labels"].items() >= LABELS.items()
    assert found.one("Deployment")["spec"]["selector"]["matchLabels"] == LABELS
    service = found.one("Service")
    assert service["spec"]["selector"] == LABELS
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {one["name"] for one in found.container["ports"]}
    monitor = found.one("ServiceMonitor")["spec"]
    assert service["metadata"]["labels"].items() >= (
        monitor["selector"]["matchLabels"].items()
    )
    (endpoint,) = monitor["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")


@every_overlay
def test_traffic_is_denied_except_what_is_named(name):
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in overlay(name).of("NetworkPolicy")
    }
    denied = policies.pop("default-deny")
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for spec in policies.values():
        assert spec["podSelector"]["matchLabels"] == LABELS
        for rule in spec.get("ingress", []) + spec.get("egress", []):
            # An empty list of peers or ports would be everybody or everything.
            assert rule["ports"]
            assert rule.get("from") or rule.get("to")
    allowed = {
        (way, str(port["port"]), port["protocol"])
        for spec in policies.values()
        for way in ("ingress", "egress")
        for rule in spec.get(way, [])
        for port in rule["ports"]
    }
    wanted = {
        ("ingress", "http", "TCP"),
        ("egress", "53", "UDP"),
        ("egress", "53", "TCP"),
        ("egress", "443", "TCP"),
    }
    if name == "postgres":
        wanted.add(("egress", "5432", "TCP"))
    assert allowed == wanted


@every_overlay
def test_only_dns_of_the_cluster_is_asked_for_names(name):
    dns = overlay(name).one("NetworkPolicy", "tunewatch-dns")["spec"]
    (rule,) = dns["egress"]
    cluster, cache = rule["to"]
    assert cluster["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert cluster["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "kube-system"
    }
    assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}


@pytest.mark.parametrize(
    ("address", "is_reached"),
    [
        ("203.0.113.7", True),
        ("2001:db8::1", True),
        *((private, False) for private in ("10.1.2.3", "172.20.0.1", "192.168.1.1")),
        *((ours, False) for ours in ("127.0.0.1", "100.64.1.1", "fd00::1", "fe80::1")),
        ("169.254.169.254", False),
        ("::1", False),
    ],
)
def test_https_goes_to_public_addresses_only(address, is_reached):
    policy = overlay("sqlite").one("NetworkPolicy", "tunewatch-https")["spec"]
    (rule,) = policy["egress"]
    meant = ipaddress.ip_address(address)
    reached = [
        block["ipBlock"]
        for block in rule["to"]
        if meant in ipaddress.ip_network(block["ipBlock"]["cidr"])
        and not any(
            meant in ipaddress.ip_network(out)
            for out in block["ipBlock"].get("except", ())
        )
    ]
    assert bool(reached) is is_reached


@every_overlay
def test_the_operator_api_is_closed_unless_its_component_opens_it(name):
    closed = str(list(overlay(name).files())) + str(overlay(name).container["env"])
    assert "api_token" not in closed.lower()
    opened = own(KUBERNETES / "overlays" / name, components=["operator-api"])
    (entry,) = (one for one in opened.container["env"] if "API_TOKEN" in one["name"])
    assert entry["name"] == "TUNEWATCH_DAEMON__API_TOKEN_FILE"
    assert Path(entry["value"]).parent == Path(opened.mount("secrets")["mountPath"])


@every_overlay
def test_by_tls_the_probes_ask_so_and_the_files_are_where_the_page_says(name, tmp_path):
    found = own(KUBERNETES / "overlays" / name, components=["tls"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert found.container[probe]["httpGet"]["scheme"] == "HTTPS"
    (entry,) = (one for one in found.container["env"] if "WEB_CONFIG" in one["name"])
    assert entry["name"] == "TUNEWATCH_DAEMON__WEB_CONFIG_FILE"
    file = Path(entry["value"])
    assert file.parent == Path(found.mount("secrets")["mountPath"])
    page = (KUBERNETES / "README.md").read_text()
    said = re.findall(r"`((?:cert|key)_file: \S+)`", page)
    written = tmp_path / file.name
    written.write_text("tls_server_config:\n  " + "\n  ".join(said))
    tls = read_web_file(written).tls_server_config
    assert tls is not None
    kept = Path(found.mount("tls")["mountPath"])
    for path in tls.files:
        assert path.name in {"tls.crt", "tls.key"}
        asked = file.parent / path.relative_to(tmp_path)
        assert Path(os.path.normpath(asked)).parent == kept
    (source,) = found.volume("tls")["projected"]["sources"]
    assert source["secret"]["name"] == "tunewatch-tls"
    assert violations(found.pod) == []


@every_overlay
def test_on_openshift_the_platform_chooses_user_and_group(name):
    found = own(KUBERNETES / "overlays" / name, components=["openshift"])
    for one in (found.pod, found.container):
        assert (
            one["securityContext"]
            .keys()
            .isdisjoint({"runAsUser", "runAsGroup", "fsGroup"})
        )
    assert violations(found.pod) == []


def test_the_base_alone_names_no_store():
    base = rendered(KUBERNETES / "base")
    assert "store.toml" not in base.one("ConfigMap")["data"]
    assert "state" not in {one["name"] for one in base.pod["volumes"]}


def test_the_kustomization_that_the_page_shows_is_what_kubectl_takes(tmp_path):
    page = (KUBERNETES / "README.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(textwrap.dedent(shown))
    for file in ("base/tunewatch.toml", "overlays/postgres/store.toml"):
        (mine / Path(file).name).write_text((KUBERNETES / file).read_text() + "# own")
    found = rendered(mine)
    assert found.container["image"] == f"registry.internal/tunewatch:{__version__}"
    assert all(text.endswith("# own") for _, text in found.files())
    assert found.one("ServiceMonitor")
    assert "api-token" in str(found.container["env"])
    assert violations(found.pod) == []


def test_the_secret_that_the_page_makes_has_all_that_is_asked_for():
    page = (KUBERNETES / "README.md").read_text()
    made = set(re.findall(r"--from-file=([\w-]+)", page))
    asked: set[str] = set()
    for name in OVERLAYS:
        found = everything(name)
        where = re.escape(found.mount("secrets")["mountPath"])
        texts = [*dict(found.files()).values(), str(found.container["env"])]
        asked.update(re.findall(rf"{where}/([\w-]+)", " ".join(texts)))
    assert asked == made
