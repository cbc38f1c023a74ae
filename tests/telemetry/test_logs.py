from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunewatch.settings import Secret
from tunewatch.telemetry import Redactor

PREPARE = """
import logging, os, sys, warnings
import structlog
from tunewatch.settings import Secret
from tunewatch.telemetry import Redactor, configure_logs
secret = Secret.of("sk-canary-\\u00e9-7f3a")
hook = Secret.of("https://hooks.example.com/services/T0CANARY/B0CANARY")
redact = Redactor([secret, hook])
configure_logs(level="info", redact=redact, environ=os.environ)
log = structlog.get_logger().bind(source="research")
"""


def spoken(program: str, **environ: str) -> list[str]:
    """Return the lines that a process with our log set-up writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + program],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def told(program: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in spoken(program)]


def test_a_line_is_an_event_name_with_fields():
    (line,) = told('log.info("poll.finished", jobs=3, seconds=0.25, path=sys)')
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["level"] == "info"
    assert line["event"] == "poll.finished"
    assert (line["source"], line["jobs"], line["seconds"]) == ("research", 3, 0.25)
    assert str(line["timestamp"]).endswith("Z")
    assert "module" in str(line["path"])


def test_what_is_below_the_level_is_not_said():
    (line,) = told('log.debug("quiet"); log.warning("loud")')
    assert line["event"] == "loud"


def test_records_of_libraries_go_through_the_same_pipe():
    lines = told(
        'logging.getLogger("some.library").warning("got %s of %d", "a", 2)\n'
        'logging.getLogger("openai").info("HTTP Request: sk-canary")\n'
        'logging.getLogger("aiohttp.access").info("GET /")\n'
        'logging.getLogger("bad").warning("%d", "x")\n'
    )
    assert [line["event"] for line in lines] == ["got a of 2", "%d"]
    assert lines[0]["logger"] == "some.library"
    assert lines[0]["level"] == "warning"


def test_a_warning_of_python_is_a_line_and_not_a_surprise_on_the_terminal():
    (line,) = told('warnings.warn("old ways", UserWarning)')
    assert "old ways" in str(line["event"])
    assert line["logger"] == "py.warnings"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_leaves_in_any_form(form):
    value = "sk-canary-é-7f3a"
    lines = spoken(
        f'configure_logs(form="{form}", redact=redact, environ=os.environ)\n'
        "log = structlog.get_logger()\n"
        "value = secret.get()\n"
        'log.info("plain", key=value, inside={"deep": [value]}, x=f"Bearer {value}")\n'
        'log.info("hook", url=hook.get(), tail="at /services/T0CANARY/B0CANARY")\n'
        'logging.getLogger("library").error("sent %r", {"key": value})\n'
        "try:\n"
        "    raise ValueError(f'refused {value} {value!r}')\n"
        "except ValueError:\n"
        '    log.exception("failed")\n'
    )
    text = "\n".join(lines)
    assert value not in text
    assert "CANARY" not in text
    assert "7f3a" not in text
    assert text.count("***") >= 7


def test_a_rotated_secret_is_hidden_before_and_after(tmp_path):
    path = tmp_path / "key"
    text = "\n".join(
        spoken(
            f"path = {str(path)!r}\n"
            "open(path, 'w').write('old-canary')\n"
            "rotating = Secret.from_file(__import__('pathlib').Path(path))\n"
            "redact.add([rotating])\n"
            'log.info("first", key=rotating.get())\n'
            "open(path, 'w').write('new-canary-longer')\n"
            'log.info("second", key=rotating.get(), old="old-canary")\n'
        )
    )
    assert "canary" not in text
    assert text.count("***") == 3


@pytest.mark.parametrize("prefix", ["whsec_", "whsk_"])
def test_a_signing_secret_is_hidden_without_its_prefix_too(prefix):
    lines = spoken(
        f"redact.add([Secret.of('{prefix}Q0FOQVJZQ0FOQVJZ+/==')])\n"
        'log.info("told", key="Q0FOQVJZQ0FOQVJZ+/==")\n'
    )
    assert "Q0FOQVJZ" not in "".join(lines)


def test_the_lines_of_a_private_key_are_hidden_one_by_one():
    lines = spoken(
        "key = '-----BEGIN PRIVATE KEY-----\\nMIGHcanary1\\nAgEAcanary2\\n-----END'\n"
        "redact.add([Secret.of(key)])\n"
        'log.info("told", line="AgEAcanary2", whole=key)\n'
    )
    assert "canary" not in "".join(lines)


def test_a_traceback_shows_neither_local_variables_nor_values_of_rows():
    (line,) = told(
        "def act():\n"
        "    local = 'local-canary'\n"
        "    raise LookupError('duplicate\\nDETAIL:  Key (id)=(row-canary) exists.')\n"
        "try:\n"
        "    act()\n"
        "except LookupError as error:\n"
        '    log.error("failed", exc_info=error)\n'
    )
    assert "LookupError: duplicate" in str(line["exception"])
    assert "in act" in str(line["exception"])
    assert "canary" not in str(line).replace("local = 'local-canary'", "")


def test_colours_are_for_terminals_that_want_them():
    script = 'configure_logs(form="console", redact=redact, environ=os.environ)\n'
    script += 'structlog.get_logger().info("poll.finished", jobs=3)'
    (line,) = spoken(script)
    assert "\x1b" not in line
    assert "poll.finished" in line
    assert "jobs=3" in line


def test_no_color_is_honoured_on_a_terminal():
    def on_a_terminal(**environ: str) -> str:
        leader, follower = os.openpty()
        try:
            subprocess.run(
                [sys.executable, "-c", PREPARE + 'log.info("poll.finished")'],
                env={**os.environ, **environ},
                stderr=follower,
                check=True,
                timeout=30,
            )
            return os.read(leader, 4096).decode()
        finally:
            os.close(leader)
            os.close(follower)

    assert "\x1b" in on_a_terminal(NO_COLOR="")
    plain = on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in plain
    assert "poll.finished" in plain


def test_a_field_that_cannot_be_written_does_not_stop_the_line():
    (line,) = told('log.info("odd", lone="\\ud800", big=2**80, keys={(1, 2): 3})')
    assert line["event"] == "odd"
    assert "1208925819614629174706176" in str(line["big"])


def test_a_log_that_cannot_be_written_never_stops_the_daemon():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", PREPARE + 'log.info("x")\nprint("alive")'],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.stdout == "alive\n"


def test_secrets_of_a_configuration_that_was_replaced_stay_hidden():
    hide = Redactor([Secret.of("sk-former-key")])
    assert hide(b"sk-former-key") == b"***"
    hide.renew([Secret.of("sk-newer-key")])
    hide.renew([Secret.of("sk-newest-key")])
    line = b"sk-former-key sk-newer-key sk-newest-key"
    assert hide(line) == b"*** *** ***"
