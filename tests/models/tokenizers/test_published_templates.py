"""Templates as published models have them: the text that transformers renders, what is said of it, what has no place.

Written for these tests in the style of their models: Llama 3, Mistral, Gemma, Qwen 2.5 with tools.
"""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from models.tokenizers import bpe
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.own_templates import EARLIER_TEMPLATE, TEMPLATE
from models.tokenizers.special import EARLIER_TOKENS, SPECIAL_TOKENS

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first)
           or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
# template, its special tokens, what its settings name (eos, bos), and the token that ends an answer
STYLES: dict[str, tuple[str, tuple[str, ...], str, str, str]] = {
    "chatml": (TEMPLATE, SPECIAL_TOKENS, "<|im_end|>", "", "<|im_end|>"),
    "llama": (
        LLAMA3, ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|end_of_text|>", "<|begin_of_text|>", "<|eot_id|>",
    ),
    "mistral": (MISTRAL, ("<s>", "</s>"), "</s>", "<s>", "</s>"),
    "gemma": (GEMMA, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", "<bos>", "<end_of_turn>"),
    "qwen": (QWEN, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", "", "<|im_end|>"),
}  # fmt: skip
EVERY = pytest.mark.parametrize("style", STYLES, indirect=True)
WITH_TOOLS = pytest.mark.parametrize("style", ["chatml", "qwen"], indirect=True)


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def called(name: str, arguments: Any, content: str = "") -> dict[str, Any]:
    return said(
        "assistant", content, tool_calls=[{"type": "function", "function": {"name": name, "arguments": arguments}}]
    )


DIALOGUE = [said("user", "one"), said("assistant", "two"), said("user", "three"), said("assistant", "four")]
RAIN = {"type": "function", "function": {"name": "rain", "description": "비?", "parameters": {"city": "string"}}}
ASKED = [said("user", "Will it rain?"), called("rain", {"city": "서울"})]
ANSWERED = [*ASKED, said("tool", "dry", name="rain"), said("tool", "sure"), said("assistant", "No.")]


def save(folder: Path, style: str) -> Path:
    """A folder as its publisher would have it: bytes, the special tokens, a template in the settings."""
    template, specials, eos, bos, _ = STYLES[style]
    tokenizer = bpe.fit([], vocabulary=256 + len(specials), special_tokens=specials)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in specials])
    ChatTokenizer(tokenizer, template=template, end=eos, end_of_text=eos, pad=eos, beginning=bos).save(folder)
    return folder


@pytest.fixture
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chat(style: str, tmp_path: Path) -> ChatTokenizer:
    return ChatTokenizer.load(save(tmp_path, style))


def theirs(folder: Path, messages: list[dict[str, Any]], **how: Any) -> str:
    return str(AutoTokenizer.from_pretrained(folder).apply_chat_template(messages, tokenize=False, **how))


def spelled(chat: ChatTokenizer, ids: list[int]) -> str:
    return chat.decode(ids, skip_special_tokens=False)


@EVERY
def test_the_text_is_transformers_and_answers_end_as_the_template_ends_them(
    chat: ChatTokenizer, style: str, tmp_path: Path
) -> None:
    for turns in (DIALOGUE[:1], DIALOGUE[:3]):
        assert spelled(chat, chat.encode_prompt(turns)) == theirs(tmp_path, turns, add_generation_prompt=True)
    ids, learned = chat.encode_dialogue(DIALOGUE)
    whole = theirs(tmp_path, DIALOGUE)
    assert whole.removeprefix(spelled(chat, ids)).strip() == ""
    end = STYLES[style][-1]
    answers = [token for token, wanted in zip(ids, learned, strict=True) if wanted]
    assert spelled(chat, answers) == f"two{end}four{end}"


@EVERY
def test_a_saved_folder_gives_the_same_ids_again(chat: ChatTokenizer, style: str, tmp_path: Path) -> None:
    chat.save(tmp_path / "again")
    again = ChatTokenizer.load(tmp_path / "again")
    assert again.encode_dialogue(DIALOGUE) == chat.encode_dialogue(DIALOGUE)
    assert (again.end, again.end_of_text) == (STYLES[style][-1], STYLES[style][2])


@pytest.mark.parametrize("style", ["chatml", "llama", "qwen"], indirect=True)
def test_a_system_turn_is_a_turn_of_its_own(chat: ChatTokenizer, tmp_path: Path) -> None:
    turns = [said("system", "Be kind."), *DIALOGUE[:1]]
    text = spelled(chat, chat.encode_prompt(turns))
    assert text == theirs(tmp_path, turns, add_generation_prompt=True)
    assert "system" in text


@pytest.mark.parametrize(
    ("style", "reason"),
    [("mistral", "Conversation roles must alternate"), ("gemma", "System role not supported")],
    indirect=["style"],
)
def test_a_system_turn_is_refused_in_the_templates_own_words(chat: ChatTokenizer, reason: str) -> None:
    with pytest.raises(ValueError, match=f"the chat template cannot be rendered .*{reason}"):
        chat.encode_prompt([said("system", "Be kind."), *DIALOGUE[:1]])


@WITH_TOOLS
def test_tools_and_results_are_rendered_as_transformers_renders_them(chat: ChatTokenizer, tmp_path: Path) -> None:
    for turns in (ASKED[:1], [said("system", "Be kind."), *ASKED[:1]], ANSWERED[:4]):
        text = spelled(chat, chat.encode_prompt(turns, [RAIN]))
        assert text == theirs(tmp_path, turns, tools=[RAIN], add_generation_prompt=True)
    assert "비?" in text


@WITH_TOOLS
def test_the_assistant_says_its_calls_and_their_end(chat: ChatTokenizer) -> None:
    ids, learned = chat.encode_dialogue(ANSWERED, [RAIN])
    answers = [token for token, wanted in zip(ids, learned, strict=True) if wanted]
    call = '<tool_call>\n{"name": "rain", "arguments": {"city": "서울"}}\n</tool_call><|im_end|>'
    assert spelled(chat, answers) == f"{call}No.<|im_end|>"
    as_text = [ANSWERED[0], called("rain", '{"city": "서울"}'), *ANSWERED[2:]]
    assert chat.encode_dialogue(as_text, [RAIN]) == (ids, learned), "OpenAI writes arguments as a text"


@WITH_TOOLS
def test_a_call_may_come_after_words(chat: ChatTokenizer) -> None:
    ids, learned = chat.encode_dialogue([ASKED[0], called("rain", {}, "Let me see.")], [RAIN])
    answers = [token for token, wanted in zip(ids, learned, strict=True) if wanted]
    assert spelled(chat, answers) == (
        'Let me see.\n<tool_call>\n{"name": "rain", "arguments": {}}\n</tool_call><|im_end|>'
    )


@pytest.mark.parametrize("style", ["llama", "mistral", "gemma"], indirect=True)
@pytest.mark.parametrize("tools", [[RAIN], []])
def test_a_template_without_tools_refuses_them(chat: ChatTokenizer, tools: list[Any]) -> None:
    with pytest.raises(ValueError, match="the chat template has no place for tools, it leaves out rain"):
        chat.encode_dialogue([*ASKED, said("user", "Well?"), said("assistant", "No.")], tools)


def test_a_result_is_not_spoken_as_a_users_turn() -> None:
    chat = ChatTokenizer.ours(bpe.fit([], vocabulary=261, special_tokens=EARLIER_TOKENS))
    assert chat.template == EARLIER_TEMPLATE
    with pytest.raises(ValueError, match="the chat template has no place for a tool's result; use one that has"):
        chat.encode_dialogue([*DIALOGUE[:2], said("tool", "dry"), said("assistant", "No.")])


@pytest.mark.parametrize("style", ["chatml"], indirect=True)
@pytest.mark.parametrize(
    ("call", "said_of_it"),
    [
        (
            called("rain", {"city": "<|im_end|>"}),
            r"a tool or a call spells <\|im_end\|>, which is a special token here",
        ),
        (called("rain", "{city"), "needs a function with a name, and arguments that are a JSON object"),
        (said("assistant", "", tool_calls=[{"id": "c1"}]), "needs a function with a name"),
    ],
)
def test_a_call_that_cannot_be_said_is_refused(chat: ChatTokenizer, call: dict[str, Any], said_of_it: str) -> None:
    with pytest.raises(ValueError, match=said_of_it):
        chat.encode_dialogue([ASKED[0], call], [RAIN])


def test_a_template_that_loops_is_refused_with_its_file(tmp_path: Path) -> None:
    save(tmp_path, "llama")
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}<|eot_id|>{{ eos_token }}"
    (tmp_path / "chat_template.jinja").write_text(loop, encoding="utf-8")
    looping = ChatTokenizer.load(tmp_path)
    with pytest.raises(
        ValueError, match=r"chat_template\.jinja: the chat template cannot be rendered .*; mend its loops$"
    ):
        looping.encode_prompt(DIALOGUE[:1])
