"""Lines of tokens: which open what, and which say nothing."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.config import DaemonSettings, Secret, read_tokens
from tunewatch.config.tokens import line_of
from tunewatch.telemetry import Redactor

ALL = frozenset({"read", "act"})
READ = frozenset({"read"})
DIGEST = hashlib.sha256(b"t0ken-of-ops").hexdigest()
LINE = f"ops read sha256:{DIGEST}"


def test_a_bare_token_may_do_everything_and_has_no_name():
    token = read_tokens("  t0ken-of-ops \n").find("t0ken-of-ops")
    assert token is not None
    assert (token.scopes, token.name) == (ALL, None)


def test_a_line_with_a_digest_opens_to_the_token_and_not_to_the_digest():
    tokens = read_tokens(LINE)
    token = tokens.find("t0ken-of-ops")
    assert token is not None
    assert (token.scopes, token.name) == (READ, "ops")
    for wrong in (DIGEST, f"sha256:{DIGEST}", LINE, "ops", "", "t0ken-of-op"):
        assert tokens.find(wrong) is None


def test_what_is_printed_is_what_is_read():
    line = line_of("t0ken-of-ops", name="ops", scopes=READ)
    assert line == LINE
    assert read_tokens(line).find("t0ken-of-ops") is not None
    for name in ("", "a b", "a,b", "-a", "api:x", "a" * 65, "é"):
        with pytest.raises(ValueError, match="wanted a name"):
            line_of("t", name=name, scopes=READ)


@pytest.mark.parametrize(
    "bad",
    [
        f"sha256:{DIGEST}",
        f"ops sha256:{DIGEST}",
        f"ops read {DIGEST}",
        f"ops read sha256:{DIGEST[:-1]}",
        f"ops read sha256:{DIGEST}0",
        f"ops read sha512:{DIGEST}",
        f"ops write sha256:{DIGEST}",
        f"ops read,write sha256:{DIGEST}",
        f"ops read,read sha256:{DIGEST}",
        f"ops read,,act sha256:{DIGEST}",
        f"ops read, act sha256:{DIGEST}",
        f"ops: read sha256:{DIGEST}",
        "two words",
    ],
)
def test_a_bad_line_is_told_by_its_number_and_the_others_go_on(bad):
    tokens = read_tokens(f"# tokens\n\n{bad}\nother-token\n")
    assert [line.number for line in tokens.bad] == [3]
    assert not any(
        word in tokens.bad[0].wanted for word in bad.split() if len(word) > 9
    )
    assert tokens.find("other-token") is not None
    for part in (bad, *bad.split(), DIGEST, "t0ken-of-ops"):
        assert tokens.find(part) is None


def test_a_token_twice_counts_as_the_first_line_says():
    tokens = read_tokens(f"{LINE}\nother read,act sha256:{DIGEST}\nt0ken-of-ops")
    assert [line.number for line in tokens.bad] == [2, 3]
    token = tokens.find("t0ken-of-ops")
    assert token is not None
    assert (token.name, token.scopes) == ("ops", READ)


@given(st.text())
def test_no_text_is_a_defect_and_only_what_stands_there_opens(text):
    tokens = read_tokens(text)
    said = {line.strip() for line in text.splitlines()}
    assert len(tokens.accepted) + len(tokens.bad) <= len(said)
    for line in said:
        found = tokens.find(line)
        assert found is None or (found.name is None and not line.startswith("#"))


def test_logs_hide_tokens_and_neither_names_nor_scopes(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(
        f"grafana read,act sha256:{DIGEST}\nbare-token-1\nodd line-secret\n"
    )
    settings = DaemonSettings(
        state="sqlite:////x/y.db", api_token=Secret.from_file(file)
    )
    redact = Redactor([settings.api_token])
    line = b"grafana read,act bare-token-1 line-secret"
    assert redact(line) == b"grafana read,act *** ***"
    file.write_text("another-token-2\n")
    settings.api_token.get()
    assert redact(b"bare-token-1 another-token-2") == b"*** ***"
