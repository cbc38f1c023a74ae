"""What the folders of deploy/kubernetes say, as `kubectl kustomize` renders them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.distribution import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("sqlite", "postgres")
COMPONENTS = ("prometheus-operator", "operator-api", "tls", "openshift")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of one kustomization."""

    objects: Sequence[Manifest]

    def of(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """Return the only object of a kind, or the only one of that name."""
        (found,) = (
            one
            for one in self.of(kind)
            if name is None or one["metadata"]["name"] == name
        )
        return found

    @property
    def pod(self) -> Manifest:
        """The spec of the daemon's pods."""
        spec: Manifest = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Manifest:
        """The daemon's container."""
        (found,) = self.pod["containers"]
        container: Manifest = found
        return container

    def volume(self, name: str) -> Manifest:
        """Return a volume of the pods."""
        (found,) = (one for one in self.pod["volumes"] if one["name"] == name)
        volume: Manifest = found
        return volume

    def mount(self, name: str) -> Manifest:
        """Return where the container has a volume."""
        (found,) = (
            one for one in self.container["volumeMounts"] if one["name"] == name
        )
        mount: Manifest = found
        return mount

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the configuration as the container sees it: paths and texts."""
        data = self.one("ConfigMap")["data"]
        where = Path(self.mount("config")["mountPath"])
        (source,) = self.volume("config")["projected"]["sources"]
        assert source["configMap"]["name"] == self.one("ConfigMap")["metadata"]["name"]
        for item in source["configMap"]["items"]:
            yield where / item["path"], data[item["key"]]


@cache
def rendered(directory: Path) -> Rendered:
    """Render a kustomization. It asks nothing of any cluster."""
    return Rendered([one for one in yaml.safe_load_all(text_of(directory)) if one])


def overlay(name: str) -> Rendered:
    """Render one of ours."""
    return rendered(KUBERNETES / "overlays" / name)


def text_of(directory: Path) -> str:
    """Return what kubectl prints of a kustomization."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
