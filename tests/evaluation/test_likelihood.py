"""Log-likelihoods in batches, against one text at a time through transformers, and choices by them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import ARCHITECTURES
from models.sampling import SHARED_AT_LEAST
from models.tokenizers.chat import ChatTokenizer
from tasks.evaluation.choices import chosen, chosen_by_characters
from tasks.evaluation.likelihood import (
    encode_pair,
    fitted,
    rolling_windows,
    score_continuations,
    score_texts,
    text_measures,
)
from tasks.evaluation.token_likelihood import Split, batches, score_splits, shared_rows

PAIRS = [
    *(("Two and two are", choice) for choice in (" four", " five", " 4", " a very long choice")),  # cut to 32
    *(("", choice) for choice in ("yes", "no")),
    *(("The sky is ", choice) for choice in ("blue", "b", "g")),
    ("x", "y"),
    ("w" * 100, "z"),
]


def alone(model: Any, split: Split) -> tuple[float, bool]:
    ids = torch.tensor([*split.context, *split.continuation])
    with torch.inference_mode():
        scores_TV = torch.log_softmax(model(ids[None, :-1]).logits[0].double(), 1)[-len(split.continuation) :]
    targets_T = torch.tensor(split.continuation)
    nats = float(scores_TV.gather(1, targets_T[:, None]).sum())
    return nats, bool((scores_TV.argmax(1) == targets_T).all())


def decoder(architecture: str, tokenizer: ChatTokenizer, context: int = 32) -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": tokenizer.vocabulary,
        "max_position_embeddings": context,
        "bos_token_id": None,
    }
    sizes |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "eos_token_id": 0}
    if architecture != "gpt2":
        sizes |= {"intermediate_size": 32, "num_key_value_heads": 1}
    configuration, model = ARCHITECTURES[architecture]
    made = model(configuration(**sizes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(8)
    return made


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("batch_tokens", [1, 70, 8192])
def test_batches_say_what_transformers_says_of_each_text_alone(
    architecture: str, batch_tokens: int, tokenizer: ChatTokenizer
) -> None:
    model = decoder(architecture, tokenizer)
    found = score_continuations(model, tokenizer, PAIRS, batch_tokens=batch_tokens)
    for pair, scored in zip(PAIRS, found, strict=True):
        nats, greedy = alone(model, fitted(encode_pair(tokenizer, *pair), 32))
        assert scored.nats == pytest.approx(nats, abs=1e-5)
        assert scored.greedy == greedy
        assert scored.tokens == len(encode_pair(tokenizer, *pair).continuation)


EXAMPLES = tuple((7 * place) % 250 + 5 for place in range(SHARED_AT_LEAST))
LETTERS = ((9,), (8,), (7,))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("continuations", [LETTERS[:1], LETTERS, ((9, 8, 7), (9, 8), (6,))])
def test_the_examples_before_all_questions_are_read_once_and_change_nothing(
    architecture: str, continuations: tuple[tuple[int, ...], ...], tokenizer: ChatTokenizer
) -> None:
    model = decoder(architecture, tokenizer, context=64)
    questions = [EXAMPLES + own for own in ((5,), (6, 7, 8, 9), (9,) * 12, (11, 12))]
    splits = [Split(context=each, continuation=after) for each in questions for after in continuations]
    shapes: list[tuple[int, ...]] = []
    watch = model.base_model.register_forward_pre_hook(
        lambda _module, _inputs, named: shapes.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    found = score_splits(model, splits)
    watch.remove()
    assert shapes == [(1, SHARED_AT_LEAST), (4, 12 + sum(len(after) - 1 for after in continuations))]
    for split, scored in zip(splits, found, strict=True):
        nats, greedy = alone(model, split)
        assert scored.nats == pytest.approx(nats, abs=1e-5)
        assert scored.greedy == greedy


def test_a_greedy_continuation_is_known_as_one(small_model: Callable[..., Any], tokenizer: ChatTokenizer) -> None:
    model = small_model(0)
    ids = tokenizer.encode_text("abc")
    with torch.inference_mode():
        for _ in range(4):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    right, wrong = tuple(ids[3:]), (*ids[3:6], (ids[6] + 1) % 256)
    context = tuple(ids[:3])
    splits = [Split(context=context, continuation=each) for each in (right, wrong, right[:1])]
    assert [score.greedy for score in score_splits(model, splits)] == [True, False, True]


def test_equal_choices_are_equally_likely_to_the_last_bit(
    small_model: Callable[..., Any], tokenizer: ChatTokenizer
) -> None:
    choices = [" one", " another", " two", " one", " a third", " one"]
    scored = score_continuations(small_model(1), tokenizer, [("Which of the words?", each) for each in choices])
    assert scored[0] == scored[3] == scored[5]
    assert len({each.nats for each in scored}) == 4


def test_what_is_too_long_loses_its_beginning_and_is_counted_or_refused(
    small_model: Callable[..., Any], tokenizer: ChatTokenizer
) -> None:
    model = small_model(0)  # reads 32 tokens, here bytes
    (scored,) = score_continuations(model, tokenizer, [("a" * 40, "bcd")])
    assert scored.cut == 10  # 43 tokens, of which the last is only predicted: 33 fit
    assert scored.nats == pytest.approx(score_continuations(model, tokenizer, [("a" * 30, "bcd")])[0].nats, abs=1e-6)
    assert score_continuations(model, tokenizer, [("a" * 30, "bcd")], too_long="refuse")[0].cut == 0
    with pytest.raises(ValueError, match="pair 2: context and continuation have 34 tokens and the model reads 33"):
        score_continuations(model, tokenizer, [("a", "b"), ("a" * 31, "bcd")], too_long="refuse")
    with pytest.raises(ValueError, match="pair 1: the continuation has 33 tokens and the model reads 32; shorten it"):
        score_continuations(model, tokenizer, [("a", "b" * 33)])
    with pytest.raises(ValueError, match="pair 1: the continuation is empty"):
        score_continuations(model, tokenizer, [("a", "")])


def test_spaces_at_the_end_of_a_context_belong_to_the_continuation(tokenizer: ChatTokenizer) -> None:
    apart = encode_pair(tokenizer, "The sky is  ", "blue")
    assert apart == encode_pair(tokenizer, "The sky is", "  blue")
    assert tokenizer.decode(apart.continuation) == "  blue"
    assert encode_pair(tokenizer, "\n ", "blue").context == (tokenizer.end_of_text_id,)


def test_choices_share_their_context_as_long_as_they_are_not_longer_than_it() -> None:
    def split(context: int, continuation: int) -> Split:
        return Split(context=(7,) * context, continuation=(8,) * continuation)

    rows = shared_rows([split(4, 3), split(9, 1), split(4, 2), split(4, 3), split(1, 5), split(1, 5), split(9, 1)])
    # 2 + 1 tokens are read after four of context, and two more would be too many
    assert [(row.length, row.splits) for row in rows] == [
        (7, (0, 2)), (6, (3,)), (9, (1, 6)), (5, (4,)), (5, (5,))
    ]  # fmt: skip
    assert [[row.length for row in batch] for batch in batches(rows, 14)] == [[9], [7, 6], [5, 5]]


def test_a_text_is_read_in_windows_and_every_token_is_predicted_once(
    small_model: Callable[..., Any], tokenizer: ChatTokenizer
) -> None:
    windows = rolling_windows(list(range(10, 20)), 0, 4)
    assert [window.context for window in windows] == [(0,), (13,), (15, 16, 17)]
    assert [window.continuation for window in windows] == [(10, 11, 12, 13), (14, 15, 16, 17), (18, 19)]
    model = small_model(0, spread=0)  # every token is as likely as another
    texts = ["a text of more bytes than the model reads at once", "짧은 글", ""]
    scored = score_texts(model, tokenizer, texts)
    assert [each.tokens for each in scored] == [49, 10, 0]
    assert scored[0].nats == pytest.approx(-49 * math.log(tokenizer.vocabulary), rel=1e-6)
    measures = text_measures(texts[:2], scored[:2])
    assert measures["bits_per_byte"] == pytest.approx(math.log2(tokenizer.vocabulary), rel=1e-6)
    assert measures["byte_perplexity"] == pytest.approx(tokenizer.vocabulary, rel=1e-5)
    assert measures["word_perplexity"] == pytest.approx(tokenizer.vocabulary ** (59 / 13), rel=1e-4)
    with pytest.raises(ValueError, match="empty"):
        text_measures([""], scored[2:])


def test_acc_and_acc_norm_on_real_choices(small_model: Callable[..., Any], tokenizer: ChatTokenizer) -> None:
    """Where every byte is as likely, the shortest choice is the likeliest, and none is per character but by its space."""
    choices = [" a very long answer", " yes", " perhaps"]
    scored = score_continuations(small_model(0, spread=0), tokenizer, [("Is it so?", each) for each in choices])
    nats = [each.nats for each in scored]
    assert chosen(nats) == 1
    assert chosen_by_characters(nats, choices) == 0  # 19 bytes over 18 characters, 4 over 3, 8 over 7
