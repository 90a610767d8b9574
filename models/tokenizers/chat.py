"""Chat turns -> ids and loss mask, with any Jinja chat template; what a user writes never becomes a special token.

A template is rendered once per sequence of roles, with a mark in the place of every text. The pieces between the marks are
the template's own (special tokens count there), the texts in their places are plain text (they do not). So training and
inference meet the same ids, and a loss mask needs no `{% generation %}` in the template.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer, models

from models.tokenizers.special import (
    EARLIER_ASSISTANT,
    EARLIER_END,
    EARLIER_USER,
    END,
    END_OF_TEXT,
    PAD,
    TURN,
)
from models.tokenizers.template import LONGEST_TEMPLATE, Message, render, render_here
from models.tokenizers.wordpiece import CLASSIFIER, MASK, SEPARATOR, UNKNOWN

ROLES = ("system", "user", "assistant")
TEMPLATE_FILE = "chat_template.jinja"  # where newer models keep what older ones keep in tokenizer_config.json
# ChatML: every turn begins with its role, in plain letters.
TEMPLATE = (
    f"{{% for message in messages %}}{TURN}{{{{ message.role }}}}\n{{{{ message.content }}}}{END}\n{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{TURN}assistant\n{{% endif %}}"
)
# Of tokenizers that were fitted here before: a system message is spoken as a user's turn.
EARLIER_TEMPLATE = (
    "{% for message in messages %}"
    f"{{% if message.role == 'assistant' %}}{EARLIER_ASSISTANT}{{% else %}}{EARLIER_USER}{{% endif %}}"
    f"{{{{ message.content }}}}{EARLIER_END}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{EARLIER_ASSISTANT}{{% endif %}}"
)
# Private-use characters: no text of a template holds them, and a template that strips texts leaves them.
_MARK_START, _MARK_END = "\ue000", "\ue001"
_NAMES = {
    "unk_token": UNKNOWN,
    "cls_token": CLASSIFIER,
    "sep_token": SEPARATOR,
    "mask_token": MASK,
}  # transformers' own
_UNORDERED = "the chat template leaves out, repeats or reorders messages; no dialogue can be built with it"


class ChatTokenizer:
    """A tokenizer with its chat template; `end_id` ends an answer, `end_of_text_id` a document."""

    FILES: ClassVar[tuple[str, ...]] = ("tokenizer.json", "tokenizer_config.json", TEMPLATE_FILE)

    def __init__(
        self, tokenizer: Tokenizer, *, template: str, end: str, end_of_text: str, pad: str, beginning: str = ""
    ) -> None:
        if len(template) > LONGEST_TEMPLATE:
            raise ValueError(f"the chat template has {len(template)} characters; at most {LONGEST_TEMPLATE} are read")
        # two copies: one for the template's own text, one that reads special tokens in a text as text
        self._specials, self._plain = (Tokenizer.from_str(tokenizer.to_str()) for _ in range(2))
        self._plain.encode_special_tokens = True
        for each in (self._specials, self._plain):
            each.no_padding()
            each.no_truncation()
        self.template, self.beginning = template, beginning
        self.end, self.end_of_text, self.pad = end, end_of_text, pad
        self.end_id, self.end_of_text_id, self.pad_id = (self._special_id(token) for token in (end, end_of_text, pad))
        self.special_ids = frozenset(
            number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
        )
        self._skeletons: dict[tuple[tuple[str, ...], bool], list[list[int] | int]] = {}

    @classmethod
    def ours(cls, tokenizer: Tokenizer) -> "ChatTokenizer":
        """A tokenizer that was fitted here, now or before."""
        is_earlier = tokenizer.token_to_id(END) is None
        template, end = (EARLIER_TEMPLATE, EARLIER_END) if is_earlier else (TEMPLATE, END)
        return cls(tokenizer, template=template, end=end, end_of_text=END_OF_TEXT, pad=PAD)

    @classmethod
    def load(cls, folder: Path) -> "ChatTokenizer":
        """From tokenizer.json and tokenizer_config.json; without the latter it is read as one that was fitted here."""
        path = folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exceptions
            raise ValueError(f"{path}: not a tokenizer ({error}); a model's folder has one") from error
        settings = _settings(folder / "tokenizer_config.json")
        template = _template(folder, settings)
        if template is None:
            if any(tokenizer.token_to_id(end) is not None for end in (END, EARLIER_END)):
                return cls.ours(tokenizer)
            return cls._adopted(tokenizer, settings)
        end_of_text = _content(settings.get("end_of_text_token")) or _content(settings.get("eos_token"))
        end = _content(settings.get("eos_token")) or end_of_text
        if end is None or end_of_text is None:
            raise ValueError(f"{folder / 'tokenizer_config.json'}: names no eos_token; answers could not end")
        pad = _content(settings.get("pad_token")) or end_of_text
        beginning = _content(settings.get("bos_token")) or ""
        return cls(tokenizer, template=template, end=end, end_of_text=end_of_text, pad=pad, beginning=beginning)

    @classmethod
    def _adopted(cls, tokenizer: Tokenizer, settings: Mapping[str, Any]) -> "ChatTokenizer":
        """A base model's tokenizer without a template: our turns, as plain words around its own end token."""
        end = _content(settings.get("eos_token"))
        if end is None:
            raise ValueError("tokenizer_config.json names neither a chat_template nor an eos_token; add one of them")
        template = (
            "{% for message in messages %}"
            "{% if message.role == 'assistant' %}Answer: {{ message.content }}{{ eos_token }}\n"
            "{% else %}Question: {{ message.content }}\n{% endif %}"
            "{% endfor %}{% if add_generation_prompt %}Answer: {% endif %}"
        )
        return cls(
            tokenizer, template=template, end=end, end_of_text=end, pad=_content(settings.get("pad_token")) or end
        )

    def save(self, folder: Path) -> None:
        """Write both files so that transformers' fast tokenizers load them too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self._specials.to_str(), encoding="utf-8")
        settings = {
            "chat_template": self.template,
            "end_of_text_token": self.end_of_text,
            "eos_token": self.end,
            "pad_token": self.pad,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
            **({"bos_token": self.beginning} if self.beginning else {}),
            **{name: token for name, token in _NAMES.items() if self._specials.token_to_id(token) is not None},
        }
        text = json.dumps(settings, ensure_ascii=False, indent=1, sort_keys=True)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @property
    def vocabulary(self) -> int:
        return int(self._specials.get_vocab_size(with_added_tokens=True))

    def encode_text(self, text: str) -> list[int]:
        """Plain text: `<|im_end|>` in it is ten characters."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """The turns so far and the opening of the assistant's answer."""
        return self._filled(messages, answering=True)

    def encode_answer(self, text: str) -> list[int]:
        """What a model has to say after `encode_prompt`: the text and the token that ends it."""
        return [*self.encode_text(text), self.end_id]

    def encode_dialogue(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Ids of a whole dialogue, and which of them the assistant says: its texts and the end token after each."""
        ids: list[int] = []
        said: list[bool] = []
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self.encode_prompt(messages[:place])
            if prompt[: len(ids)] != ids:
                raise ValueError(
                    "the chat template rewrites earlier turns; the loss mask of its dialogues is not defined"
                )
            answer = self.encode_answer(message["content"])
            said += [False] * (len(prompt) - len(ids)) + [True] * len(answer)
            ids = prompt + answer
        return ids, said

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return str(self._specials.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def token(self, number: int) -> str:
        """The token of an id, as the vocabulary spells it."""
        return str(self._specials.id_to_token(number))

    def _special_id(self, token: str) -> int:
        found = self._specials.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no token {token}, which its settings name")
        return int(found)

    def _filled(self, messages: Sequence[Message], *, answering: bool) -> list[int]:
        if isinstance(self._plain.model, models.WordPiece):
            raise ValueError("a WordPiece tokenizer does not give a text back; for a chat, fit one of another kind")
        for message in messages:
            if message["role"] not in ROLES:
                raise ValueError(f"role {message['role']!r}: expected one of {', '.join(ROLES)}")
        roles = tuple(message["role"] for message in messages)
        ids: list[int] = []
        for part in self._skeleton(roles, answering):
            ids += self.encode_text(messages[part]["content"]) if isinstance(part, int) else part
        return ids

    def _skeleton(self, roles: tuple[str, ...], answering: bool) -> list[list[int] | int]:
        """The template's own ids, and the number of the message between them."""
        key = (roles, answering)
        if key not in self._skeletons:
            self._skeletons[key] = self._rendered(roles, answering)
        return self._skeletons[key]

    def _rendered(self, roles: tuple[str, ...], answering: bool) -> list[list[int] | int]:
        marks = [f"{_MARK_START}{place}{_MARK_END}" for place in range(len(roles))]
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        rendered = render_here if self.template in (TEMPLATE, EARLIER_TEMPLATE) else render
        text = rendered(self.template, messages, answering, bos_token=self.beginning, eos_token=self.end)
        parts: list[list[int] | int] = []
        for place, mark in enumerate(marks):
            before, found, text = text.partition(mark)
            if not found or _MARK_START in before:
                raise ValueError(_UNORDERED)
            parts += [self._own(before), place]
        if _MARK_START in text:
            raise ValueError(_UNORDERED)
        return [*parts, self._own(text)]

    def _own(self, text: str) -> list[int]:
        return list(self._specials.encode(text, add_special_tokens=False).ids) if text else []


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from error


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The folder's chat template, from either of the two places where models keep it."""
    path = folder / TEMPLATE_FILE
    found = path.read_text(encoding="utf-8") if path.is_file() else settings.get("chat_template")
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{folder}: has several chat templates; keep the one that is meant, as {TEMPLATE_FILE}")
    return found


def _content(token: object) -> str | None:
    """A token in a tokenizer_config.json is a string or a record with its content."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None
