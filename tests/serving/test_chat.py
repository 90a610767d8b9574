"""Answers that arrive in whole characters, end where they must, and come from a model whose bytes were checked."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from flows.chat import harmless, run_chat
from models.catalogue import save_model
from models.llama import LlamaShape, build_llama
from models.tokenizers import bpe, sentencepiece
from models.tokenizers.chat import ChatTokenizer
from models.tokenizers.special import EARLIER_TOKENS
from tasks.artifacts import write_artifact
from tasks.serving.chat import chat_reply, fitting_prompt
from tasks.serving.load import load_released

KOREAN = "한국어는 세 바이트, 👩‍🔧 열한 바이트.\n끝"
ASKED = [{"role": "user", "content": "what?"}]


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    """Bytes and nothing else: every Korean syllable is three tokens."""
    return ChatTokenizer.ours(bpe.fit([], vocabulary=261, special_tokens=EARLIER_TOKENS))


class Scripted:
    """A model that says one fixed thing whatever it is asked, and counts how often it was run."""

    def __init__(self, ids: list[int], vocabulary: int, context: int = 512) -> None:
        self.config = SimpleNamespace(max_position_embeddings=context)
        self.runs = 0
        self._ids, self._vocabulary = ids, vocabulary

    def parameters(self) -> Iterator[torch.Tensor]:
        yield torch.zeros(1)

    def __call__(self, **_: Any) -> Any:
        logits = torch.zeros(1, 1, self._vocabulary)
        logits[0, 0, self._ids[self.runs]] = 50.0
        self.runs += 1
        return SimpleNamespace(logits=logits, past_key_values=self.runs)


def reply(model: Any, tokenizer: ChatTokenizer, **changed: Any) -> list[str]:
    return list(chat_reply(model, tokenizer, ASKED, **{"max_tokens": 200, "temperature": 0.0, "seed": 1, **changed}))


def test_split_characters_arrive_whole(tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.encode_text(KOREAN)
    model = Scripted([*ids, tokenizer.end_id], 261)
    pieces = reply(model, tokenizer)
    assert "".join(pieces) == KOREAN
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 15


def test_an_answer_ends_at_a_special_token_or_at_its_limit_between_characters(tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.encode_text("ab")
    assert len(tokenizer.special_ids) == len(EARLIER_TOKENS)
    for token in tokenizer.special_ids:
        assert reply(Scripted([*ids, token, *ids], 261), tokenizer) == ["a", "b"]
    cut = Scripted(tokenizer.encode_text("가나다"), 261)
    assert reply(cut, tokenizer, max_tokens=5) == ["가"]
    assert cut.runs == 5


def test_bytes_that_are_no_character_do_not_stop_the_answer(tokenizer: ChatTokenizer) -> None:
    first, *_ = tokenizer.encode_text("가")
    pieces = reply(Scripted([first, *tokenizer.encode_text("ok"), 4], 261), tokenizer)
    assert "".join(pieces) == "\ufffdok"


@pytest.fixture(scope="module")
def falling_back() -> ChatTokenizer:
    """Pieces for letters, and single bytes for what no piece spells."""
    return ChatTokenizer.ours(sentencepiece.fit(["letters and words\n" * 5], kind="unigram", vocabulary=330))


def test_characters_spelled_in_bytes_arrive_whole(falling_back: ChatTokenizer) -> None:
    ids = falling_back.encode_text(f"words {KOREAN}")
    model = Scripted([*ids, falling_back.end_id], falling_back.vocabulary)
    pieces = reply(model, falling_back)
    assert "".join(pieces) == f"words {KOREAN}"
    assert not any("\ufffd" in piece for piece in pieces)
    assert "국" in pieces


def test_a_broken_byte_after_whole_ones_does_not_silence_the_rest(falling_back: ChatTokenizer) -> None:
    """The decoder of single bytes then takes the whole run of them for no text, the good ones too."""
    emoji, words = falling_back.encode_text("😉"), falling_back.encode_text(" words and letters")
    broken = falling_back.encode_text("\x00")[0] + 0xFF
    pieces = reply(Scripted([*emoji, broken, *words, falling_back.end_id], falling_back.vocabulary), falling_back)
    assert "".join(pieces) == "😉\ufffd words and letters"


def test_the_same_seed_gives_the_same_answer_and_another_one_another(tokenizer: ChatTokenizer) -> None:
    def free(seed: int) -> str:
        model = Scripted([5] * 60, 261)
        model._vocabulary = 261
        flat = lambda **_: SimpleNamespace(logits=torch.zeros(1, 1, 261), past_key_values=None)  # noqa: E731
        open_minded = SimpleNamespace(parameters=model.parameters, config=model.config)
        return "".join(reply(_Callable(open_minded, flat), tokenizer, temperature=1.0, seed=seed, max_tokens=60))

    assert free(3) == free(3)
    assert free(3) != free(4)


class _Callable:
    def __init__(self, parts: Any, forward: Any) -> None:
        self.parameters, self.config, self._forward = parts.parameters, parts.config, forward

    def __call__(self, **inputs: Any) -> Any:
        return self._forward(**inputs)


def test_the_oldest_turns_leave_first_and_a_message_too_long_is_refused(tokenizer: ChatTokenizer) -> None:
    turns = [{"role": role, "content": "x" * 20} for role in ("user", "assistant", "user", "assistant", "user")]
    ids = fitting_prompt(tokenizer, turns, context=120, wanted=30)
    assert ids == fitting_prompt(tokenizer, turns[2:], context=120, wanted=30)
    assert len(ids) <= 90
    with pytest.raises(ValueError, match="shorten the message"):
        fitting_prompt(tokenizer, [{"role": "user", "content": "x" * 200}], context=120, wanted=30)
    with pytest.raises(ValueError, match="max_tokens"):
        reply(Scripted([4], 261), tokenizer, max_tokens=0)


@pytest.fixture(scope="module")
def folder(tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, untrained Llama as a release leaves it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "aligned"
    shape = LlamaShape(layers=1, width=32, heads=2, kv_heads=2, feed_forward=64, context=64)
    model = build_llama(shape, vocabulary=261, end_id=0, pad_id=1)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data.mul_(20)  # a fresh model repeats its last token
    model.get_input_embeddings().weight.data[:5] = 0  # and this one never ends
    save_model(path, model, tokenizer)
    write_artifact(path, kind="aligned")
    return path


def test_a_changed_byte_or_another_model_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    import shutil

    load_released(folder)
    with pytest.raises(ValueError, match="expected ffff"):
        load_released(folder, digest="f" * 64)
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    with pytest.raises(ValueError, match=r"model\.safetensors has changed"):
        load_released(damaged)
    reward = Path(shutil.copytree(folder, tmp_path / "reward"))
    write_artifact(reward, kind="reward")
    with pytest.raises(ValueError, match="cannot talk"):
        load_released(reward)


def test_streaming_says_what_the_model_would_say_at_once(folder: Path) -> None:
    model, tokenizer = load_released(folder)
    ids = tokenizer.encode_prompt(ASKED)
    out = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=1, eos_token_id=4)
    whole = tokenizer.decode(out[0, len(ids) :].tolist())
    streamed = "".join(reply(model, tokenizer, max_tokens=12))
    assert streamed
    assert whole.startswith(streamed)


def test_a_conversation_goes_on_until_the_input_ends(folder: Path) -> None:
    heard = io.StringIO()
    source = io.StringIO("hello\n\n" + "x" * 300 + "\n/new\nagain\n")
    assert run_chat(folder, None, max_tokens=8, source=source, target=heard) == 0
    assert heard.getvalue().count("you    ") == 6
    assert "shorten the message" in heard.getvalue()
    once, again = io.StringIO(), io.StringIO()
    assert run_chat(folder, "hello", max_tokens=8, target=once) == 0
    assert run_chat(folder, "hello", max_tokens=8, target=again) == 0
    assert once.getvalue() == again.getvalue()
    assert once.getvalue().endswith("\n")


def test_what_a_model_says_cannot_command_the_terminal() -> None:
    assert harmless("a\x1b[2J\x07b\r\u202e\n\t가👩\u200d🔧") == "a·[2J·b··\n\t가👩\u200d🔧"
