"""Where an Azure resource is said to be, in which form, and who asks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.distribution import write_package
from support.program import Program
from tunewatch import config
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.settings import ConfigError, Secret
from tunewatch.sources.azure import AzureSettings

RESOURCE = "https://acme.openai.azure.com"
PROJECT = "https://acme.services.ai.azure.com/api/projects/chat"
KEY = Secret.of("a-key")


def settings(**said: object) -> AzureSettings:
    return AzureSettings.model_validate({"endpoint": RESOURCE, "api_key": KEY, **said})


@pytest.mark.parametrize(
    ("endpoint", "version", "asked", "query"),
    [
        (RESOURCE, None, f"{RESOURCE}/openai/v1", {}),
        (RESOURCE + "/", "2024-10-21", f"{RESOURCE}/openai", {"2024-10-21"}),
        (RESOURCE, "2025-04-01-preview", f"{RESOURCE}/openai", {"2025-04-01-preview"}),
        (RESOURCE, "preview", f"{RESOURCE}/openai/v1", {"preview"}),
        (RESOURCE, "v1", f"{RESOURCE}/openai/v1", {"v1"}),
        (PROJECT, None, f"{PROJECT}/openai/v1", {}),
        (f"{PROJECT}/", "2025-05-01", f"{PROJECT}/openai", {"2025-05-01"}),
        ("http://127.0.0.1:8081", None, "http://127.0.0.1:8081/openai/v1", {}),
        ("http://localhost", None, "http://localhost/openai/v1", {}),
        ("HTTPS://Gate.Example/team", None, "https://gate.example/team/openai/v1", {}),
    ],
)
def test_the_form_follows_from_the_version(endpoint, version, asked, query):
    made = settings(endpoint=endpoint, api_version=version)
    assert made.base_url == asked
    assert set(made.query.values()) == set(query)


def test_the_realm_is_of_the_resource_whatever_project_is_asked():
    assert settings(endpoint=PROJECT).origin == "https://acme.services.ai.azure.com"


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        (RESOURCE, "https://cognitiveservices.azure.com/.default"),
        ("https://a.openai.azure.us", "https://cognitiveservices.azure.us/.default"),
        ("https://a.openai.azure.cn", "https://cognitiveservices.azure.cn/.default"),
        (PROJECT, "https://ai.azure.com/.default"),
    ],
)
def test_a_token_is_asked_for_the_endpoint_s_own_cloud(endpoint, scope):
    assert settings(endpoint=endpoint).scope == scope
    assert settings(endpoint=endpoint, entra_scope="api://mine").scope == "api://mine"


def mistakes(tmp_path: Path, text: str, **environ: str) -> str:
    """Return what a person is told of a source with these lines."""
    path = tmp_path / "tunewatch.toml"
    path.write_text(f'[sources.east]\nkind = "azure"\n{text}')
    with pytest.raises(ConfigError) as raised:
        config.load(path, environ, source_model=source_model, plugin_model=plugin_model)
    return str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        (f"{RESOURCE}/openai/v1/", "found /openai/v1 at its end, which is added here"),
        (f"{PROJECT}/openai/v1", "found /openai/v1 at its end, which is added here"),
        (f"{RESOURCE}/openai", "set api_version if /openai without /v1 is meant"),
        (f"{RESOURCE}/openai/fine_tuning/jobs", "found /fine_tuning/jobs at its end"),
        (f"{RESOURCE}/openai/deployments/x", "found one of a deployment"),
        (f"{RESOURCE}/openai?api-version=2024-10-21", "move that to api_version"),
        ("http://acme.openai.azure.com", "wanted an https URL; found http"),
        ("http://10.0.0.1", "wanted an https URL; found http"),
        ("acme.openai.azure.com", "must be an http or https URL such as https://NAME"),
        ("https://me:hunter2@acme.openai.azure.com", "must hold no user"),
        (f"{RESOURCE}/?hunter2", "must end with a path"),
    ],
)
def test_an_endpoint_that_cannot_be_meant_says_what_to_do(tmp_path, endpoint, told):
    said = mistakes(tmp_path, f'api_key = "k"\nendpoint = "{endpoint}"')
    assert "sources.east.endpoint: " in said
    assert told in said
    assert "hunter2" not in said
    assert "1 mistake" not in said


@pytest.mark.parametrize("version", ["1.0", "late", "v2", "2023-12-01-beta"])
def test_a_version_that_is_none_is_told(tmp_path, version):
    lines = f'api_key = "k"\nendpoint = "{RESOURCE}"\napi_version = "{version}"'
    said = mistakes(tmp_path, lines)
    assert "sources.east.api_version: wanted a version such as 2024-10-21" in said
    assert version not in said.partition("sources.east")[2]


def test_the_endpoint_must_be_said(tmp_path):
    said = mistakes(tmp_path, 'api_key = "k"')
    assert "sources.east.endpoint: wanted " in said


def test_somebody_must_ask_and_only_one(tmp_path):
    place = f'endpoint = "{RESOURCE}"\n'
    nobody = mistakes(tmp_path, place)
    assert "or entra = true, or entra_token_file; found none" in nobody
    both = mistakes(tmp_path, place + 'api_key = "k"\nentra_token = "t"')
    assert "wanted one way to sign in; found api_key and entra_token" in both


def test_a_key_that_cannot_be_read_is_one_mistake_and_not_two(tmp_path):
    said = mistakes(tmp_path, f'endpoint = "{RESOURCE}"\napi_key_env = "AZURE_KEY"')
    assert "has a mistake: " in said
    assert "environment variable AZURE_KEY; found it not set" in said


def test_entra_without_its_package_says_what_to_install(tmp_path):
    # A module of that name hides the package, as if it were not installed.
    hiding = write_package(tmp_path, "hiding", {}, {"azure": ""})
    program = Program(tmp_path, sites=(hiding,))
    path = tmp_path / "tunewatch.toml"
    path.write_text(
        f'[sources.east]\nkind = "azure"\nendpoint = "{RESOURCE}"\nentra = true\n'
    )
    done = program("check", "--config", str(path))
    assert done.code == 2
    assert "found it is not installed: pip install 'tunewatch[azure]'" in done.err
    assert "Traceback" not in done.err


def test_the_ways_to_keep_a_secret_are_those_of_any_key(tmp_path):
    (tmp_path / "key").write_text("canary-1\n")
    (tmp_path / "token").write_text("canary-3\n")
    path = tmp_path / "tunewatch.toml"
    path.write_text(
        f'[source_defaults]\nkind = "azure"\nendpoint = "{RESOURCE}"\n'
        f'[sources.a]\napi_key_file = "{tmp_path}/key"\n'
        '[sources.b]\napi_key_env = "AZURE_OPENAI_API_KEY"\n'
        f'[sources.c]\nentra_token_file = "{tmp_path}/token"\n'
    )
    environ = {"AZURE_OPENAI_API_KEY": "canary-2"}
    found = config.load(
        path, environ, source_model=source_model, plugin_model=plugin_model
    )
    assert found.sources["a"].api_key.get() == "canary-1"
    assert found.sources["b"].api_key.get() == "canary-2"
    assert found.sources["c"].settings.entra_token.get() == "canary-3"
    shown = config.toml_text(config.redacted(found))
    assert "canary-1" not in shown
    assert "canary-3" not in shown
    assert "[sources.c]" in shown
    assert f'entra_token = "*** (file {tmp_path}/token)"' in shown


def test_the_kind_is_found_and_its_settings_checked_without_any_client(tmp_path):
    program = Program(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from tunewatch.sources import load\n"
        f"load('azure').settings(endpoint='{RESOURCE}', api_key='k')\n"
        "heavy = {'openai', 'httpx2', 'aiohttp', 'azure'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    said = subprocess.run(
        [sys.executable, str(script)],
        env=program.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert said == "[]\n"
