"""The text of a chat template that came with a model, rendered where it can do no harm.

Jinja's sandbox keeps a template away from Python's insides, but not from endless loops and gigabytes of text: so it is
rendered in a process of its own, which may use a second of processor time and half a gigabyte. Run as a file, this module
is that process: a request as JSON on standard input, an answer as JSON on standard output.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

if sys.platform != "win32":
    import resource

Message = Mapping[str, Any]  # role and content; of the assistant tool_calls

LONGEST_TEMPLATE, LONGEST_TEXT = 20_000, 1_000_000  # characters
PROCESSOR_SECONDS, MEMORY_BYTES, PATIENCE_SECONDS = 1, 512_000_000, 30.0


def render(
    template: str,
    messages: Sequence[Message],
    answering: bool,
    *,
    bos_token: str = "",
    eos_token: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The template's text; ValueError for one that is broken, reaches outside, or does not come to an end."""
    request = json.dumps([template, list(messages), answering, bos_token, eos_token, list(tools)])
    command = [sys.executable, "-I", "-B", __file__]
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, encoding="utf-8", check=False, timeout=PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            f"the chat template cannot be rendered (not done in {PATIENCE_SECONDS:.0f} s); mend its loops"
        ) from error
    if done.returncode != 0:
        raise ValueError(
            f"the chat template cannot be rendered (it takes more than {PROCESSOR_SECONDS} s "
            f"or {MEMORY_BYTES // 1_000_000} MB: {done.stderr.strip()[-100:]}); mend its loops"
        )
    text, reason = json.loads(done.stdout)
    if reason:
        said = _in_one_line(reason)
        raise ValueError(f"the chat template cannot be rendered ({said}); mend it, or the turns that it refuses")
    return str(text)


def _in_one_line(reason: str) -> str:
    """What a template may say for itself, without line breaks and what would steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())


def render_here(
    template: str,
    messages: Sequence[Message],
    answering: bool,
    *,
    bos_token: str = "",
    eos_token: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """`render` for a template that is our own: in the sandbox, without limits."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _raise_exception
    pieces: list[str] = []
    size = 0
    for piece in environment.from_string(template).generate(
        messages=list(messages),
        add_generation_prompt=answering,
        bos_token=bos_token,
        eos_token=eos_token,
        tools=list(tools) or None,
    ):
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST_TEXT:
            raise ValueError(f"more than {LONGEST_TEXT:,} characters")
    return "".join(pieces)


class _Generation(Extension):
    """transformers' own {% generation %}, around what the assistant says: here it is known without."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _json(value: object, indent: int | None = None, **how: Any) -> str:
    """As transformers has it: letters of any language, no escapes for a web page."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **how)


def _raise_exception(message: str) -> None:
    """What templates call for turns that they do not know."""
    raise TemplateError(message)


def _limit_this_process() -> None:
    if sys.platform != "win32":
        seconds = int(time.process_time()) + 1 + PROCESSOR_SECONDS  # the limit counts from the process's start
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if sys.platform == "linux":  # others refuse a limit below what is mapped already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _main() -> None:
    template, messages, answering, bos_token, eos_token, tools = json.loads(sys.stdin.read())
    _limit_this_process()
    try:
        answer = [render_here(template, messages, answering, bos_token=bos_token, eos_token=eos_token, tools=tools), ""]
    except MemoryError:
        answer = ["", f"MemoryError: more than {MEMORY_BYTES // 1_000_000} MB"]
    except Exception as error:  # a template can make Python raise anything
        answer = ["", f"{type(error).__name__}: {error}"[:200]]
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main()
