"""The OpenAPI document: it is whole, and the server does what it says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from support.operator_api import ROOT, operator_api
from tunewatch.api.operations import ACTIONS, OPERATIONS, SPECIAL
from tunewatch.web.v1.openapi import document

TOKEN = "token-canary-4711"


def references(part: Any) -> set[str]:
    """Return every reference in a part of the document."""
    if isinstance(part, dict):
        own = {part["$ref"]} if "$ref" in part else set()
        return own.union(*map(references, part.values()))
    if isinstance(part, list):
        return set().union(*map(references, part))
    return set()


def test_every_path_is_in_the_document_and_the_other_way_round():
    paths = {ROOT + one.path for one in (*OPERATIONS, *ACTIONS, *SPECIAL)}
    assert document()["paths"].keys() == paths


def test_every_reference_leads_to_a_schema_and_every_schema_is_needed():
    made = {
        f"#/components/schemas/{name}" for name in document()["components"]["schemas"]
    }
    assert references(document()) == made


def test_every_parameter_is_described():
    for path in document()["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            for one in operation["parameters"]:
                assert one["in"] == "path" or one["description"], one


async def test_the_document_is_served_as_it_is(tmp_path):
    async with operator_api(f"sqlite:///{tmp_path / 'state.db'}") as operator:
        reply = await operator.ask("/openapi.json")
    assert reply.json == json.loads(json.dumps(document()))


@pytest.mark.timeout(240)
async def test_the_server_keeps_what_the_document_says(tmp_path):
    """Schemathesis, all of its checks, against a filled store.

    Without the stream, which has no end to wait for: test_api_stream is about it.
    """
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, token=lambda: TOKEN) as operator:
        for number in range(10):
            await operator.filling.job(
                f"ftjob-{number}",
                status="succeeded" if number % 2 else "running",
                suffix="router",
                metadata={"team": "a"},
                points={step: {"train_loss": 1 / step} for step in range(1, 31)},
                checkpoints={10: {"full_valid_loss": 0.5}},
            )
        described = tmp_path / "openapi.json"
        described.write_bytes((await operator.ask("/openapi.json")).body)
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", str(described), "--url", operator.url),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--exclude-path", f"{ROOT}/events/stream"),
            *("--checks", "all", "--max-examples", "15", "--seed", "1", "--no-color"),
            *("--warnings", "off"),  # that it guessed no plugin's name
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    text = said.decode()
    assert process.returncode == 0, text
    assert "No issues found" in text
    selected = re.search(r"Tested: (\d+)", text)
    assert selected is not None, text
    assert int(selected[1]) == len((*OPERATIONS, *ACTIONS, *SPECIAL)) - 1
