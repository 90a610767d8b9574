"""`espalier chat`: a conversation with a released model in the terminal.

What the model says is written as text: a terminal obeys control characters, so none of the model's reaches it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

MAX_TOKENS = 200
LEAVE = ("/exit", "/quit")
FORGET = "/new"


def run_chat(
    folder: Path,
    once: str | None,
    *,
    digest: str | None = None,
    temperature: float = 0.0,
    max_tokens: int = MAX_TOKENS,
    seed: int = 1,
    source: TextIO | None = None,
    target: TextIO | None = None,
) -> int:
    """Answer `once` and return, or talk until the input ends; the exit status. ValueError when the folder is damaged."""
    from tasks.serving.chat import chat_reply
    from tasks.serving.load import load_released

    model, tokenizer = load_released(folder, digest=digest)

    def reply(messages: list[dict[str, str]]) -> Iterator[str]:
        return chat_reply(model, tokenizer, messages, max_tokens=max_tokens, temperature=temperature, seed=seed)

    target = target or sys.stdout
    if once is not None:
        _speak(reply([{"role": "user", "content": readable(once)}]), target)
        return 0
    return _converse(reply, source or sys.stdin, target)


def _converse(reply: Any, source: TextIO, target: TextIO) -> int:
    """Ctrl-C stops an answer, a second one or the end of the input leaves."""
    _tell(target, f"Type a message. {FORGET} begins again, Ctrl-C stops an answer, {LEAVE[0]} or Ctrl-D leaves.\n")
    messages: list[dict[str, str]] = []
    while True:
        said = _listen(source, target)
        if said is None or said in LEAVE:
            _tell(target, "\n" if said is None else "")
            return 0
        if said == FORGET:
            messages = []
        elif said:
            asked = [*messages, {"role": "user", "content": said}]
            try:
                answer = _speak(reply(asked), target)
            except ValueError as error:
                _tell(target, f"({error})\n")
                continue
            messages = [*asked, {"role": "assistant", "content": answer}]


def _listen(source: TextIO, target: TextIO) -> str | None:
    """One line without its end; None at the end of the input or on Ctrl-C."""
    try:
        if source is sys.stdin and source.isatty():
            import readline  # noqa: F401  input() then has a history and arrow keys

            return readable(input("\nyou    ")).strip()
        _tell(target, "\nyou    ")
        line = source.readline()
    except (EOFError, KeyboardInterrupt):
        return None
    return readable(line).strip() if line else None


def _speak(pieces: Iterator[str], target: TextIO) -> str:
    """Write the answer as it comes, and return what was said before Ctrl-C at the latest."""
    answer: list[str] = []
    try:
        for piece in pieces:
            answer.append(piece)
            _tell(target, harmless(piece))
    except KeyboardInterrupt:
        _tell(target, " …")
    _tell(target, "\n")
    return "".join(answer)


def _tell(target: TextIO, text: str) -> None:
    target.write(text)
    target.flush()


def harmless(text: str) -> str:
    """Line breaks and tabs stay; escape sequences and what reorders a line become a dot."""
    return "".join(each if each.isprintable() or each in "\n\t\u200c\u200d" else "·" for each in text)


def readable(text: str) -> str:
    """What a terminal of another encoding sends holds lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
