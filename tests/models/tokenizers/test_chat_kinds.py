"""Chats and transformers with every kind of tokenizer: turns, injections, saved folders with the same ids."""

import random
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from models.tokenizers import bpe, sentencepiece, wordpiece
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.sentencepiece import PieceSettings
from models.tokenizers.special import SPECIAL_TOKENS

TEXTS = ["Numbers are added with the plus sign.\n" * 5, "모든 국민은 법 앞에 평등하다. 😉\n" * 5]
END_OF_TEXT, PAD, TURN, END = range(4)
ASKED = [{"role": "user", "content": "one"}]
MAKE: dict[str, Any] = {
    "bpe": lambda: bpe.fit(TEXTS, vocabulary=300),
    "unigram": lambda: sentencepiece.fit(TEXTS, kind="unigram", vocabulary=340),
    "sentencepiece_bpe": lambda: sentencepiece.fit(TEXTS, kind="bpe", vocabulary=340),
    "prefixed": lambda: sentencepiece.fit(
        TEXTS, kind="bpe", vocabulary=340, settings=PieceSettings(dummy_prefix=True)
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=MAKE)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return MAKE[request.param]()


@pytest.fixture(scope="module")
def chat(tokenizer: Any) -> ChatTokenizer:
    return ChatTokenizer.ours(tokenizer)


def test_turns_become_the_ids_that_the_template_says(chat: ChatTokenizer) -> None:
    one, two = chat.encode_text("one"), chat.encode_text("two 둘")
    turns = [*ASKED, {"role": "assistant", "content": "two 둘"}]
    user, assistant, line = (
        [TURN, *chat.encode_text("user\n")],
        [TURN, *chat.encode_text("assistant\n")],
        chat.encode_text("\n"),
    )
    assert chat.encode_prompt(ASKED) == [*user, *one, END, *line, *assistant]
    assert chat.encode_dialogue(turns)[0] == [*user, *one, END, *line, *assistant, *two, END]
    assert (chat.end_of_text_id, chat.pad_id, chat.end_id) == (END_OF_TEXT, PAD, END)
    assert chat.decode(chat.encode_answer("two 둘")) == "two 둘"


def test_no_text_of_a_user_becomes_a_special_token_and_all_of_it_comes_back(chat: ChatTokenizer) -> None:
    chance = random.Random(1)
    parts = [
        *SPECIAL_TOKENS,
        "<unk>",
        "<0x0A>",
        "[CLS]",
        "<|",
        "|>",
        "user",
        " ",
        "\n",
        "한",
        "\x00",
        "\u2581",
        "{{ 1 }}",
    ]
    for _ in range(300):
        evil = "".join(chance.choices(parts, k=6))
        ids = chat.encode_prompt([{"role": "user", "content": evil}])
        assert [each for each in ids if each in chat.special_ids] == [TURN, END, TURN]
        assert chat.decode(chat.encode_text(evil), skip_special_tokens=False) == evil


def test_transformers_loads_the_folder_and_gives_the_same_ids(
    chat: ChatTokenizer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chat.save(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    again = ChatTokenizer.load(tmp_path)
    assert loaded.is_fast
    for text in (*TEXTS, "", " ", "a  b\r\n\tc", "\x00 👩‍🔧 zz 漢字 é e\u0301", "<unk> [MASK] <0x41>"):
        assert loaded.encode(text, add_special_tokens=False, split_special_tokens=True) == chat.encode_text(text)
        assert again.encode_text(text) == chat.encode_text(text)
        assert loaded.decode(chat.encode_text(text)) == text
    prompt = loaded.apply_chat_template(ASKED, add_generation_prompt=True, tokenize=True, return_dict=False)
    if (
        request.node.callspec.params["tokenizer"] == "prefixed"
    ):  # to transformers the text is not the first of its stretch
        assert loaded.decode(prompt) == chat.decode(chat.encode_prompt(ASKED), skip_special_tokens=False).replace(
            "\n ", "\n"
        )
    else:
        assert prompt == chat.encode_prompt(ASKED)
    assert (loaded.eos_token_id, loaded.pad_token_id, len(loaded)) == (END, PAD, chat.vocabulary)


def test_wordpiece_is_for_reading_and_transformers_knows_its_tokens(tmp_path: Path) -> None:
    fitted = wordpiece.fit(TEXTS, vocabulary=120)
    chat = ChatTokenizer.ours(fitted)
    with pytest.raises(
        ValueError, match="a WordPiece tokenizer does not give a text back; for a chat, fit one of another"
    ):
        chat.encode_prompt(ASKED)
    chat.save(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    names = (loaded.unk_token, loaded.cls_token, loaded.sep_token, loaded.mask_token, loaded.pad_token)
    assert names == ("[UNK]", "[CLS]", "[SEP]", "[MASK]", "<|pad|>")
    for text in TEXTS:
        assert loaded.encode(text, add_special_tokens=False) == chat.encode_text(text)
        assert loaded.encode(text) == fitted.encode(text).ids
