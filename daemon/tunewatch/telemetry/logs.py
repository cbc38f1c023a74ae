"""Log set-up: event names and fields, as JSON lines or for a person on a terminal.

Everything goes through one pipe, records of third-party libraries too, and ends in the
redactor. A log that cannot be written never stops the daemon.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict

from tunewatch.telemetry.redaction import Redactor, without_values

Render = Callable[[EventDict], bytes]

QUIET = ("httpx2", "httpcore2", "openai", "aiohttp", "asyncio", "alembic", "sqlalchemy")
"""Libraries whose news is none: they speak from WARNING on."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "console", "json"] = "auto",
    redact: Redactor,
    environ: Mapping[str, str],
    stream: IO[Any] | None = None,
) -> None:
    """Set up structlog and the standard library's logging for this process.

    `auto` is console on a terminal and JSON elsewhere; `$NO_COLOR` is honoured.
    """
    out: IO[Any] = sys.stderr if stream is None else stream
    is_terminal = out.isatty()
    if form == "console" or (form == "auto" and is_terminal):
        render = _console(colors=is_terminal and not environ.get("NO_COLOR"))
    else:
        render = _json
    lines = _Lines(getattr(out, "buffer", out), render, redact)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _as_arguments,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    _take_over_stdlib(lines, _LEVELS[level])


def _take_over_stdlib(lines: _Lines, level: int) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_Pipe(lines))
    root.setLevel(max(level, logging.INFO))
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # Access lines would repeat what /metrics tells.
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def _as_arguments(
    _logger: object, _method: str, event: EventDict
) -> tuple[tuple[EventDict], dict[str, Any]]:
    return (event,), {}


class _Lines:
    """Writes events as lines; a logger as structlog wants it."""

    __slots__ = ("_file", "_redact", "_render")

    def __init__(self, file: IO[bytes], render: Render, redact: Redactor) -> None:
        self._file = file
        self._render = render
        self._redact = redact

    def msg(self, event: EventDict) -> None:
        """Write one event."""
        error = event.pop("exc_info", None)
        if error:
            event["exception"] = _exception_text(error)
        if event.pop("stack_info", None):
            event["stack"] = "".join(traceback.format_stack()[:-3])
        event["timestamp"] = _now()
        line = self._redact(self._render(event)) + b"\n"
        # A full disk or a closed pipe is no reason to stop watching jobs.
        with suppress(OSError, ValueError):
            self._file.write(line)
            self._file.flush()

    log = debug = info = warn = warning = error = critical = fatal = exception = msg


class _Pipe(logging.Handler):
    """Takes records of the standard library into the same pipe."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a caller's bad format string is not our end
            message = str(record.msg)
        event = {"level": record.levelname.lower(), "event": message}
        self._lines.msg({**event, "logger": record.name, "exc_info": record.exc_info})


_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


def _now() -> str:
    return str(_stamp(None, "", {})["timestamp"])


_encoder = msgspec.json.Encoder(enc_hook=repr)


def _json(event: EventDict) -> bytes:
    ordered = {
        "timestamp": event.pop("timestamp"),
        "level": event.pop("level", "info"),
        "event": event.pop("event", ""),
        **event,
    }
    try:
        return _encoder.encode(ordered)
    except Exception:  # noqa: BLE001 - whatever a field is, the line must come out
        return _encoder.encode({str(k): _readable(v) for k, v in ordered.items()})


def _readable(value: object) -> str:
    return str(value).encode(errors="backslashreplace").decode()


def _console(*, colors: bool) -> Render:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        pad_event_to=32,
        # The pretty ones show local variables, which hold secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )

    def render(event: EventDict) -> bytes:
        return renderer(None, "", event).encode(errors="backslashreplace")

    return render


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _exception_text(error: object) -> str:
    """Return a traceback without local variables and without values of rows."""
    if isinstance(error, tuple):
        error = error[1]
    elif not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return ""
    return without_values("".join(traceback.format_exception(error)).rstrip())
