"""The restricted profile of the Pod Security Standards, every rule of it written out.

Kubernetes' own words are the measure: the baseline's controls first, then those that
the restricted profile adds. Knows nothing of what the pods run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]
Rule = Callable[[Spec], Iterator[str]]

VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
SYSCTLS = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range"),
        *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies"),
        *("net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout"),
        *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"),
        *("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    }
)
SELINUX = frozenset(
    {
        *("", "container_t", "container_init_t", "container_kvm_t"),
        "container_engine_t",
    }
)
CONFINED = frozenset({"RuntimeDefault", "Localhost"})
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def violations(pod: Spec) -> list[str]:
    """Return what a pod's spec has against the profile, a line each."""
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(pod)]


def _containers(pod: Spec) -> Iterator[Spec]:
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from pod.get(kind) or ()


def _contexts(pod: Spec) -> Iterator[tuple[str, Spec]]:
    """Yield the security contexts: the pod's own and each container's."""
    yield "pod", pod.get("securityContext") or {}
    for one in _containers(pod):
        yield one["name"], one.get("securityContext") or {}


def _handlers(container: Spec) -> Iterator[Spec]:
    yield from (container[name] for name in PROBES if name in container)
    yield from (container.get("lifecycle") or {}).values()


def host_process(pod: Spec) -> Iterator[str]:
    """No container is a process of a Windows host."""
    for where, context in _contexts(pod):
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            yield where


def host_namespaces(pod: Spec) -> Iterator[str]:
    """No namespace is the host's."""
    yield from (one for one in ("hostNetwork", "hostPID", "hostIPC") if pod.get(one))


def privileged(pod: Spec) -> Iterator[str]:
    """No container may do everything."""
    yield from (where for where, context in _contexts(pod) if context.get("privileged"))


def host_ports(pod: Spec) -> Iterator[str]:
    """No port is the host's."""
    for one in _containers(pod):
        yield from (
            one["name"] for port in one.get("ports", ()) if port.get("hostPort")
        )


def host_probes(pod: Spec) -> Iterator[str]:
    """No probe and no hook asks another host."""
    for one in _containers(pod):
        for handler in _handlers(one):
            for way in ("httpGet", "tcpSocket"):
                if (handler.get(way) or {}).get("host"):
                    yield one["name"]


def app_armor(pod: Spec) -> Iterator[str]:
    """AppArmor confines, or is not spoken of."""
    for where, context in _contexts(pod):
        kind = (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault")
        if kind not in CONFINED:
            yield where


def selinux(pod: Spec) -> Iterator[str]:
    """SELinux has a type of containers, and neither user nor role."""
    for where, context in _contexts(pod):
        options = context.get("seLinuxOptions") or {}
        if options.get("type", "") not in SELINUX:
            yield where
        if options.get("user") or options.get("role"):
            yield where


def proc_mount(pod: Spec) -> Iterator[str]:
    """/proc is masked as usual."""
    for where, context in _contexts(pod):
        if context.get("procMount", "Default") != "Default":
            yield where


def sysctls(pod: Spec) -> Iterator[str]:
    """Only safe parameters of the kernel are set."""
    context = pod.get("securityContext") or {}
    named = (one["name"] for one in context.get("sysctls", ()))
    yield from (name for name in named if name not in SYSCTLS)


def volume_types(pod: Spec) -> Iterator[str]:
    """Volumes are of the kinds that hold nothing of the host's."""
    for volume in pod.get("volumes", ()):
        yield from volume.keys() - VOLUMES - {"name"}


def privilege_escalation(pod: Spec) -> Iterator[str]:
    """No container may gain rights; that has to be said of each."""
    for one in _containers(pod):
        context = one.get("securityContext") or {}
        if context.get("allowPrivilegeEscalation") is not False:
            yield one["name"]


def running_as_non_root(pod: Spec) -> Iterator[str]:
    """The pod or each container says that it is not root's."""
    of_pod = (pod.get("securityContext") or {}).get("runAsNonRoot")
    for one in _containers(pod):
        own = (one.get("securityContext") or {}).get("runAsNonRoot", of_pod)
        if own is not True:
            yield one["name"]


def root_user(pod: Spec) -> Iterator[str]:
    """No user is number 0."""
    for where, context in _contexts(pod):
        if context.get("runAsUser") == 0:
            yield where


def seccomp(pod: Spec) -> Iterator[str]:
    """The pod or each container says what confines its calls of the kernel."""
    of_pod = (pod.get("securityContext") or {}).get("seccompProfile") or {}
    if of_pod.get("type", "RuntimeDefault") not in CONFINED:
        yield "pod"
    for one in _containers(pod):
        own = (one.get("securityContext") or {}).get("seccompProfile") or of_pod
        if own.get("type") not in CONFINED:
            yield one["name"]


def capabilities(pod: Spec) -> Iterator[str]:
    """Every container drops all; only low ports may come back."""
    for one in _containers(pod):
        told = (one.get("securityContext") or {}).get("capabilities") or {}
        if "ALL" not in told.get("drop", ()):
            yield one["name"]
        if set(told.get("add", ())) - {"NET_BIND_SERVICE"}:
            yield one["name"]


RULES: tuple[Rule, ...] = (
    *(host_process, host_namespaces, privileged, host_ports, host_probes),
    *(app_armor, selinux, proc_mount, sysctls),
    *(volume_types, privilege_escalation, running_as_non_root, root_user),
    *(seccomp, capabilities),
)
