"""What a maintained tool says of the manifests and the Dockerfile: checkov.

It stands in an environment of its own, `.venv/policy`, because it pins what it needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.distribution import ROOT
from support.manifests import KUBERNETES, OVERLAYS, text_of

CHECKOV = Path(sys.prefix) / "policy" / "bin" / "checkov"

ON_PURPOSE = {
    "CKV_K8S_11": "no limit of the processor: a throttled loop is late with all",
    "CKV_K8S_15": "a tag of ours never changes: it need not be pulled again",
    "CKV_K8S_43": "nobody knows the digest before the image is built and pushed",
    "CKV_DOCKER_2": "no HEALTHCHECK: the Dockerfile says why",
    "CKV_DOCKER_7": "the base is pinned by digest, in an ARG that it does not read",
}
"""What it asks and does not get, and why."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("checkov")
    for name in OVERLAYS:
        (directory / f"{name}.yaml").write_text(text_of(KUBERNETES / "overlays" / name))
    dockerfile = ROOT / "deploy" / "docker" / "Dockerfile"
    (directory / "Dockerfile").write_text(dockerfile.read_text())
    done = subprocess.run(
        [
            *(CHECKOV, "--directory", directory, "--output", "json", "--quiet"),
            *("--framework", "kubernetes", "dockerfile", "--skip-download"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.stdout.startswith("["), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_it_looked_at_every_overlay_and_at_the_image(reports):
    summaries = {one["check_type"]: one["summary"] for one in reports}
    assert summaries.keys() == {"kubernetes", "dockerfile"}
    for summary in summaries.values():
        assert summary["parsing_errors"] == 0
        assert summary["passed"] > 100


def test_it_has_nothing_against_them_but_what_is_on_purpose(reports):
    failed = {
        one["check_id"]: f"{one['check_name']}: {one['resource']}"
        for report in reports
        for one in report["results"]["failed_checks"]
    }
    assert {key: failed[key] for key in failed.keys() - ON_PURPOSE.keys()} == {}
    assert failed.keys() == ON_PURPOSE.keys(), (
        "an exception that is not needed any more"
    )
