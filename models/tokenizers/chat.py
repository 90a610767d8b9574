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

from models.tokenizers.own_templates import ADOPTED_TEMPLATE, EARLIER_TEMPLATE, TEMPLATE
from models.tokenizers.settings import (
    SETTINGS_FILE,
    TEMPLATE_FILE,
    content_of,
    read_settings,
    read_template,
    template_place,
)
from models.tokenizers.special import EARLIER_END, END, END_OF_TEXT, PAD
from models.tokenizers.template import LONGEST_TEMPLATE, Message, render, render_here
from models.tokenizers.tools import Tool, names_of, refuse_left_out, refuse_special, written
from models.tokenizers.wordpiece import CLASSIFIER, MASK, SEPARATOR, UNKNOWN

ROLES = ("system", "user", "assistant", "tool")
# Private-use characters: no text of a template holds them, and a template that strips texts leaves them. A template that
# escapes texts, which are set in as they are, does not leave the quotation mark.
_MARK_START, _MARK_END = '\ue000"', "\ue001"
_NAMES = {
    "unk_token": UNKNOWN,
    "cls_token": CLASSIFIER,
    "sep_token": SEPARATOR,
    "mask_token": MASK,
}  # transformers' own
_REWRITTEN = "the chat template rewrites earlier turns; the loss mask of its dialogues is not defined"
_UNORDERED = "the chat template leaves out, repeats or reorders messages; no dialogue can be built with it"


class ChatTokenizer:
    """A tokenizer with its chat template; `end_id` ends an answer, `end_of_text_id` a document."""

    FILES: ClassVar[tuple[str, ...]] = ("tokenizer.json", SETTINGS_FILE, TEMPLATE_FILE)

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
        self._origin = ""
        self.end, self.end_of_text, self.pad = end, end_of_text, pad
        self.end_id, self.end_of_text_id, self.pad_id = (self._special_id(token) for token in (end, end_of_text, pad))
        self.special_ids = frozenset(
            number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
        )
        self._special_tokens = [self.token(number) for number in sorted(self.special_ids)]
        # what the tokenizer itself puts before a text: [] for ours and GPT-2's, the beginning token for Llama's
        self.opening_ids = list(self._specials.encode("", add_special_tokens=True).ids)
        self.beginning_id = self._special_id(beginning) if beginning else self.end_of_text_id
        self._skeletons: dict[tuple[tuple[str, ...], bool, str], list[list[int] | int] | str] = {}

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
        settings = read_settings(folder / SETTINGS_FILE)
        template = read_template(folder, settings)
        if template is None:
            known = tokenizer.get_vocab()
            if PAD in known and (
                END in known or EARLIER_END in known
            ):  # a base model of Qwen's has the ends, no such padding
                return cls.ours(tokenizer)
            return cls._adopted(tokenizer, settings)
        end_of_text = content_of(settings.get("end_of_text_token")) or content_of(settings.get("eos_token"))
        end = content_of(settings.get("eos_token")) or end_of_text
        if end is None or end_of_text is None:
            raise ValueError(f"{folder / 'tokenizer_config.json'}: names no eos_token; answers could not end")
        pad = content_of(settings.get("pad_token")) or end_of_text
        beginning = content_of(settings.get("bos_token")) or ""
        found = cls(tokenizer, template=template, end=end, end_of_text=end_of_text, pad=pad, beginning=beginning)
        if end not in template and "eos_token" not in template and (other := found._end_of_turn()):
            # Gemma's end of text is <eos>, its turns end with <end_of_turn>: that is what an answer has to learn
            found = cls(tokenizer, template=template, end=other, end_of_text=end_of_text, pad=pad, beginning=beginning)
        found._origin = str(template_place(folder))
        return found

    @classmethod
    def _adopted(cls, tokenizer: Tokenizer, settings: Mapping[str, Any]) -> "ChatTokenizer":
        """A base model's tokenizer without a template: our turns, as plain words around its own end token."""
        end = content_of(settings.get("eos_token"))
        if end is None:
            raise ValueError("tokenizer_config.json names neither a chat_template nor an eos_token; add one of them")
        return cls(
            tokenizer,
            template=ADOPTED_TEMPLATE,
            end=end,
            end_of_text=end,
            pad=content_of(settings.get("pad_token")) or end,
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
        (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")

    @property
    def vocabulary(self) -> int:
        return int(self._specials.get_vocab_size(with_added_tokens=True))

    def encode_text(self, text: str) -> list[int]:
        """Plain text: `<|im_end|>` in it is ten characters."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """The turns so far and the opening of the assistant's answer; ValueError for tools that the template leaves out."""
        return self._filled(messages, tools, answering=True)

    def encode_answer(self, text: str) -> list[int]:
        """What a model has to say after `encode_prompt`: the text and the token that ends it."""
        return [*self.encode_text(text), self.end_id]

    def encode_dialogue(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> tuple[list[int], list[bool]]:
        """Ids of a whole dialogue, and which of them the assistant says: texts, calls, and the end token after each."""
        ids: list[int] = []
        said: list[bool] = []
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self.encode_prompt(messages[:place], tools)
            if prompt[: len(ids)] != ids:
                raise ValueError(_REWRITTEN)
            if message.get("tool_calls"):
                answer = self._encode_calls(messages[: place + 1], tools, prompt)
            else:
                answer = self.encode_answer(message["content"])
            said += [False] * (len(prompt) - len(ids)) + [True] * len(answer)
            ids = prompt + answer
        return ids, said

    def _encode_calls(self, messages: Sequence[Message], tools: Sequence[Tool], prompt: Sequence[int]) -> list[int]:
        """What the assistant says where its last message is a call: all that the template writes after the prompt."""
        whole = self._filled(messages, tools, answering=False)
        if whole[: len(prompt)] != list(prompt):
            raise ValueError(_REWRITTEN)
        said = whole[len(prompt) :]
        if self.end_id not in said:
            raise ValueError(f"the chat template does not end a tool call with {self.end}; the model would never stop")
        return said[: len(said) - said[::-1].index(self.end_id)]

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

    def _end_of_turn(self) -> str:
        """The first special token that the template writes after an answer, or ""."""
        try:
            *_, rest = self._skeleton([{"role": role, "content": "-"} for role in ("user", "assistant")], (), False)
        except ValueError:
            return ""  # whoever makes a dialogue with it is told why
        after = rest if isinstance(rest, list) else []
        return next((self.token(each) for each in after if each in self.special_ids), "")

    def _filled(self, messages: Sequence[Message], tools: Sequence[Tool], *, answering: bool) -> list[int]:
        if isinstance(self._plain.model, models.WordPiece):
            raise ValueError("a WordPiece tokenizer does not give a text back; for a chat, fit one of another kind")
        for message in messages:
            if message["role"] not in ROLES:
                raise ValueError(f"role {message['role']!r}: expected one of {', '.join(ROLES)}")
        ids: list[int] = []
        for part in self._skeleton(messages, tools, answering):
            ids += self.encode_text(messages[part]["content"]) if isinstance(part, int) else part
        return ids

    def _skeleton(self, messages: Sequence[Message], tools: Sequence[Tool], answering: bool) -> list[list[int] | int]:
        """The template's own ids, and the number of the message between them; once for all of the same roles and tools.

        A refusal is kept too: of ten thousand dialogues that the template has no place for, one is rendered.
        """
        shape = [written(message, "" if _only_calls(message) else "text") for message in messages]
        given = [list(tools), [message.get("tool_calls", []) for message in shape]]
        plain = not tools and all(set(message) == {"role", "content"} for message in shape)
        key = (tuple(message["role"] for message in messages), answering, "" if plain else json.dumps([tools, shape]))
        if key not in self._skeletons:
            refuse_special(given, self._special_tokens)
            try:
                self._skeletons[key] = self._rendered(messages, tools, answering)
            except ValueError as error:
                self._skeletons[key] = str(error)
        found = self._skeletons[key]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def _rendered(self, messages: Sequence[Message], tools: Sequence[Tool], answering: bool) -> list[list[int] | int]:
        marks = {
            place: f"{_MARK_START}{place}{_MARK_END}"
            for place, message in enumerate(messages)
            if not _only_calls(message)
        }
        marked = [written(message, marks.get(place, "")) for place, message in enumerate(messages)]
        text = whole = self._render(marked, tools, answering)
        parts: list[list[int] | int] = []
        for place, mark in marks.items():
            before, found, text = text.partition(mark)
            if not found or _MARK_START in before:
                raise ValueError(_UNORDERED)
            parts += [self._own(before), place]
        if _MARK_START in text:
            raise ValueError(_UNORDERED)
        self._refuse_unsaid(marked, tools, answering, whole)
        return [*parts, self._own(text)]

    def _refuse_unsaid(self, marked: Sequence[Message], tools: Sequence[Tool], answering: bool, text: str) -> None:
        """ValueError for a template that leaves tools or calls out, or speaks a tool's result as if a user had said it."""
        refuse_left_out(names_of(tools), text)
        for place, message in enumerate(marked):
            if calls := message.get("tool_calls"):
                before, after = (_mark_near(marked, place, step) for step in (-1, 1))
                said = text.partition(before)[2] if before else text
                refuse_left_out(names_of(calls), said.partition(after)[0] if after else said)
        if any(message["role"] == "tool" for message in marked):
            as_user = [{**message, "role": "user"} if message["role"] == "tool" else message for message in marked]
            try:
                same = self._render(as_user, tools, answering) == text
            except ValueError:  # it minds whose turn it is, and so it knows the difference
                same = False
            if same:
                raise ValueError("the chat template has no place for a tool's result; use one that has")

    def _render(self, messages: Sequence[Message], tools: Sequence[Tool], answering: bool) -> str:
        rendered = render_here if self.template in (TEMPLATE, EARLIER_TEMPLATE) else render
        named = {"bos_token": self.beginning, "eos_token": self.end}
        try:
            return rendered(self.template, messages, answering, tools=tools, **named)
        except ValueError as error:
            raise ValueError(f"{self._origin}: {error}" if self._origin else str(error)) from error

    def _own(self, text: str) -> list[int]:
        return list(self._specials.encode(text, add_special_tokens=False).ids) if text else []


def _only_calls(message: Message) -> bool:
    return bool(message.get("tool_calls")) and not message["content"]


def _mark_near(marked: Sequence[Message], place: int, step: int) -> str:
    """The mark of the nearest message that has one, or "": of an earlier one or the message itself, or of a later one."""
    places = range(place, -1, -1) if step < 0 else range(place + 1, len(marked))
    return next((str(marked[each]["content"]) for each in places if marked[each]["content"]), "")
