"""What may be said of a W&B account, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from support.kinds import source_model
from support.wandb_server import KEY
from tunewatch import config, host
from tunewatch.settings import Place, checked
from tunewatch_plugins.wandb_run import WandbSettings, facts


def mistakes(**table: object) -> str:
    settings, told = checked(WandbSettings, table, Place(prefix=("plugins", "wandb")))
    assert settings is None
    text = "\n".join(str(one) for one in told)
    assert KEY not in text
    return text


def test_a_key_is_enough():
    settings = WandbSettings.model_validate({"api_key": KEY})
    assert (settings.mode, settings.project) == ("online", "fine-tuning")
    assert KEY not in repr(settings) + settings.model_dump_json()


def test_online_wants_a_key_and_says_how_to_give_it():
    assert "api_key_file" in mistakes(project="x")
    assert "offline" in mistakes(project="x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"project": "a/b"},
        {"project": "a" * 129},
        {"tags": ["t" * 65]},
        {"url": "ftp://example.com"},
        {"url": f"https://{KEY}@example.com"},
        {"init_timeout": "10ms"},
        {"max_open": 0},
        {"when_server_side": "sometimes"},
        {"routes": [{"projekt": "x"}]},
    ],
)
def test_what_wandb_would_not_take_is_refused_at_the_start(wrong):
    with pytest.raises(ValidationError):
        WandbSettings.model_validate({"api_key": KEY, **wrong})
    assert mistakes(api_key=KEY, **wrong)


SOURCES = "".join(f'[sources.{name}]\napi_key = "k"\n' for name in ("a", "b"))


def two(directory: Path, one: str, other: str) -> list[str]:
    """Return what is wrong with two W&B accounts."""
    path = directory / "tunewatch.toml"
    path.write_text(
        f'{SOURCES}[plugins.ours]\nkind = "wandb"\nmode = "offline"\n{one}\n'
        f'[plugins.theirs]\nkind = "wandb"\nmode = "offline"\n{other}\n'
    )
    try:
        config.load(
            path,
            {},
            source_model=source_model,
            plugin_model=lambda kind: host.load(kind).settings,
        )
    except config.ConfigError as error:
        return [f"{one.key}: {one.text}" for one in error.mistakes]
    return []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", ""),
        # The client holds a run by its id, whatever its project.
        ('project = "x"', 'project = "y"'),
        ('sources = ["a"]', ""),
        ('sources = ["?"]', 'sources = ["b"]'),
        ('sources = ["gone-*"]', 'sources = ["*"]'),
        ('metadata = { team = "x" }', 'metadata = { stage = "y" }'),
    ],
)
def test_two_accounts_that_would_have_the_same_run_are_refused_and_told_what_to_do(
    tmp_path, one, other
):
    (told,) = two(tmp_path, one, other)
    assert told.startswith("plugins.theirs: it would have the same jobs as plugins.our")
    assert "give them other sources or metadata, or make them one table" in told


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('sources = ["a"]', 'sources = ["b"]'),
        ('metadata = { team = "x" }', 'metadata = { team = "y" }'),
        ("", "enabled = false"),
    ],
)
def test_two_accounts_with_jobs_of_their_own_are_fine(tmp_path, one, other):
    assert two(tmp_path, one, other) == []


def test_an_account_that_does_nothing_is_in_nobodys_way():
    settings = WandbSettings.model_validate({"mode": "disabled"})
    assert settings.alone_with_jobs is None


def test_without_the_library_the_start_is_refused_and_told_what_to_install():
    program = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "wandb":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
from tunewatch_plugins.wandb_run import WandbSettings
WandbSettings(mode="disabled")
try:
    WandbSettings(mode="offline")
except ValueError as error:
    sys.exit(0 if "pip install 'tunewatch[wandb]'" in str(error) else 1)
sys.exit(2)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_reading_the_settings_does_not_import_the_library():
    program = """
import sys
from tunewatch_plugins.wandb_run import WandbSettings
WandbSettings(mode="offline")
sys.exit("wandb" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_names_are_cut_to_what_wandb_takes():
    job = {"id": "j" * 300, "suffix": "s" * 300, "model": "m" * 300}
    assert len(facts.name(job)) <= 128
    assert all(len(tag) <= 64 for tag in facts.tags(job, ["t"]))
    assert len(facts.family(job)) <= 128
    assert len(facts.run_id(job["id"])) <= 128
    assert facts.run_id("a/b") != facts.run_id("a:b")
    assert facts.run_id("ftjob-abc.1_x") == "ftjob-abc.1_x"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"id": None, "method": "supervised", "hyperparameters": [], "error": "no"},
        {"method": {"type": "dpo", "dpo": None}, "metadata": 3, "integrations": [1]},
        {"created_at": "soon", "finished_at": 1e300, "model": 5, "suffix": ""},
    ],
)
def test_a_job_of_any_shape_can_be_told(odd):
    assert facts.name(odd)
    assert facts.tags(odd, ())
    assert isinstance(facts.config(odd, "s", "r"), dict)
    assert isinstance(facts.outcome(odd), dict)
    assert facts.family(odd)
    assert facts.server_side(odd) is None
