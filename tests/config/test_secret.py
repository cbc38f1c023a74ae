from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from tunewatch.settings import Place, Secret, checked, known_keys


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    api_key: Secret


def replace(path: Path, text: str) -> None:
    """Put another file in its place, as a secret store does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def read(table, **surroundings):
    settings, mistakes = checked(Settings, table, Place(**surroundings))
    return settings.api_key if settings else None, [str(m) for m in mistakes]


def test_a_secret_cannot_be_printed():
    secret = Secret.of("sk-canary")
    shown = f"{secret} {secret!r} {secret!s} {[secret]}"
    shown += Settings(api_key=secret).model_dump_json() + repr(Settings(api_key=secret))
    assert "sk-canary" not in shown
    assert secret.get() == "sk-canary"


def test_a_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "key"
    path.write_text("first\n")
    secret = Secret.from_file(path)
    assert secret.get() == "first"
    replace(path, "second\n")
    assert secret.get() == "second"
    assert secret.known() == ("first", "second")


def test_a_file_that_is_away_while_it_is_replaced_leaves_the_last_value(tmp_path):
    path = tmp_path / "key"
    path.write_text("first")
    secret = Secret.from_file(path)
    assert secret.get() == "first"
    path.unlink()
    assert secret.get() == "first"
    path.write_text("")
    assert secret.get() == "first"
    replace(path, "second")
    assert secret.get() == "second"


@contextmanager
def files_opened():
    """Collect the paths that Python opens, by its own audit events."""
    opened = []
    is_on = True

    def heard(event, args):
        if is_on and event == "open":
            opened.append(str(args[0]))

    sys.addaudithook(heard)  # cannot be taken away again, only made deaf
    try:
        yield opened
    finally:
        is_on = False


def test_a_file_is_opened_only_when_it_changed(tmp_path):
    path = tmp_path / "key"
    path.write_text("first")
    secret = Secret.from_file(path)
    secret.get()
    with files_opened() as opened:
        assert secret.get() == secret.get() == "first"
        assert str(path) not in opened
        replace(path, "second")
        assert secret.get() == secret.get() == "second"
    assert opened.count(str(path)) == 1


def test_a_relative_file_stands_beside_the_file_that_names_it(tmp_path):
    config = tmp_path / "tunewatch.toml"
    config.write_text("")
    (tmp_path / "key").write_text("beside")
    secret, _ = read({"api_key_file": "key"}, origins={("api_key_file",): str(config)})
    assert secret.get() == "beside"


def test_a_bare_name_is_first_sought_among_the_credentials_of_systemd(tmp_path):
    (tmp_path / "openai").write_text("credential")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for key in ("api_key_file", "api_key_credential"):
        secret, mistakes = read({key: "openai"}, environ=environ)
        assert mistakes == []
        assert secret.get() == "credential"


@pytest.mark.parametrize(
    ("table", "environ", "told"),
    [
        ({}, {}, "api_key: wanted this secret, as api_key or one of api_key_file"),
        ({"api_key": ""}, {}, "api_key: wanted a string that is not empty"),
        ({"api_key_env": "K"}, {}, "in environment variable K; found it not set"),
        ({"api_key_env": "K"}, {"K": " "}, "environment variable K; found it empty"),
        ({"api_key_file": "/no/key"}, {}, "file at /no/key; found: no such file"),
        ({"api_key_file": "/"}, {}, "wanted a readable file at /; found: is a dir"),
        ({"api_key_file": "/dev/null"}, {}, "a secret in /dev/null; found it empty"),
        ({"api_key_file": 3}, {}, "api_key_file: wanted a path; found none"),
        ({"api_key_credential": "x"}, {}, "found no $CREDENTIALS_DIRECTORY"),
        (
            {"api_key": "sk-canary", "api_key_env": "K"},
            {"K": "sk-canary"},
            "wanted one way to give this secret; found api_key, api_key_env",
        ),
    ],
)
def test_a_secret_that_cannot_be_had_says_which_and_why(table, environ, told):
    secret, mistakes = read(table, environ=environ)
    assert secret is None
    assert len(mistakes) == 1
    assert told in mistakes[0]
    assert "sk-canary" not in mistakes[0]


class Named(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tokens: dict[str, Secret] = {}


def named(table, **surroundings):
    settings, mistakes = checked(Named, {"tokens": table}, Place(**surroundings))
    return settings.tokens if settings else None, [str(m) for m in mistakes]


def test_in_a_table_of_free_keys_each_secret_says_where_it_is_kept(tmp_path):
    (tmp_path / "token").write_text("by file\n")
    config = tmp_path / "tunewatch.toml"
    config.write_text("")
    tokens, mistakes = named(
        {
            "A": "by itself",
            "B": {"file": "token"},
            "C": {"env": "TOKEN"},
            "D": {"credential": "token"},
        },
        environ={"TOKEN": "by variable", "CREDENTIALS_DIRECTORY": str(tmp_path)},
        origins={("tokens",): str(config)},
    )
    assert mistakes == []
    assert {name: secret.get() for name, secret in tokens.items()} == {
        "A": "by itself",
        "B": "by file",
        "C": "by variable",
        "D": "by file",
    }
    replace(tmp_path / "token", "replaced")
    assert tokens["B"].get() == "replaced"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "tokens.A: wanted a string or one of { file = … }, { env = … }, { cred"),
        ({"path": "/x"}, "tokens.A: wanted a string or one of { file = … }"),
        ({"file": "/x", "env": "X"}, "tokens.A: wanted a string or one of"),
        ({"file": "/no/token"}, "tokens.A.file: wanted a readable file at /no/token"),
        ({"env": "sk-canary"}, "tokens.A.env: wanted a secret in the environment"),
        ({"env": 3}, "tokens.A.env: wanted a name of an environment variable"),
        ({"credential": "x"}, "tokens.A.credential: wanted a systemd credential"),
        (3, "tokens.A: wanted a string that is not empty; found an integer"),
    ],
)
def test_a_secret_in_such_a_table_that_cannot_be_had_says_which_and_why(value, told):
    tokens, mistakes = named({"A": value})
    assert tokens is None
    (mistake,) = mistakes
    assert mistake.startswith(told)
    assert "sk-canary" not in mistake


def test_the_ways_of_a_whole_table_are_no_keys_of_it():
    assert known_keys(Named) == ["tokens"]
    _, mistakes = checked(Named, {"tokens_file": "/x"}, Place())
    assert "there is no such key; did you mean tokens?" in str(mistakes[0])


def test_a_validator_that_repeats_a_secret_of_such_a_table_is_not_passed_on():
    class Careless(Named):
        @field_validator("tokens")
        @classmethod
        def _complains(cls, tokens: dict[str, Secret]) -> dict[str, Secret]:
            raise ValueError(f"no good: {tokens['A'].get()}")

    table = {"tokens": {"A": {"env": "TOKEN"}}}
    environ = {"TOKEN": "sk-canary"}
    _, mistakes = checked(Careless, table, Place(environ=environ))
    assert [str(mistake) for mistake in mistakes] == ["tokens: no good: ***"]
