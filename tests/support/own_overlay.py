"""A kustomization as people write it: one of ours, and what is theirs on top."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from support.manifests import KUBERNETES, Rendered, rendered


def own(base: Path, *, components: Sequence[str] = (), **more: Any) -> Rendered:
    """Render a kustomization on top of one of ours, with these components of ours."""
    with tempfile.TemporaryDirectory() as named:
        directory = Path(named).resolve()
        text = yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": "tunewatch",
                "resources": [os.path.relpath(base, directory)],
                "components": [
                    os.path.relpath(KUBERNETES / "components" / one, directory)
                    for one in components
                ],
                **more,
            }
        )
        (directory / "kustomization.yaml").write_text(text)
        return rendered(directory)
