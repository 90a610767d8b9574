"""Every format from a small file written by hand: guessed, and turned into the messages that it holds."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.conversations.conversation import Conversation
from tasks.conversations.formats import FORMATS
from tasks.conversations.read import Reading, read

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Seoul"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
TSV = 'id\tdocument\tlabel\n7\tgood film\t1\n8\t"she said ""no"""\t0\n'
NATURAL = {
    "Definition": ["Name the mood."],
    "Categories": ["Sentiment"],
    "Positive Examples": [{"input": "hooray", "output": "POS", "explanation": "It cheers."}],
    "Instances": [{"id": "t-1", "input": "oh no", "output": ["NEG", "BAD"]}],
}

# (format, file, what is in it, the turns of its conversations as (role's first letter, text))
WRITTEN: dict[str, tuple[str, str, Any, list[list[tuple[str, str]]]]] = {
    "alpaca": (
        "alpaca", "a.json",
        [{"instruction": "Add.", "input": "1 and 2", "output": "3"}, {"instruction": "Greet.", "input": "", "output": "Hi"}],
        [[("u", "Add.\n\n1 and 2"), ("a", "3")], [("u", "Greet."), ("a", "Hi")]],
    ),
    "alpaca with a system message": (
        "alpaca", "a.jsonl", [{"system": "Be brief.", "instruction": "Greet.", "output": "Hi"}],
        [[("s", "Be brief."), ("u", "Greet."), ("a", "Hi")]],
    ),
    "dolly": (
        "dolly", "d.jsonl", [{"instruction": "Who?", "context": "Ann ran.", "response": "Ann", "category": "closed_qa"}],
        [[("u", "Who?\n\nAnn ran."), ("a", "Ann")]],
    ),
    "sharegpt": (
        "sharegpt", "s.json",
        [{"id": "x1", "system": "Be kind.", "conversations": [{"from": "human", "value": "Hi"},
          {"from": "gpt", "value": "Hello"}, {"from": "human", "value": "Bye"}, {"from": "gpt", "value": "See you"}]}],
        [[("s", "Be kind."), ("u", "Hi"), ("a", "Hello"), ("u", "Bye"), ("a", "See you")]],
    ),
    "openai": (
        "openai", "o.jsonl",
        [{"messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"},
          {"role": "assistant", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]}],
        [[("s", "Be kind."), ("u", "Hi"), ("a", "Hello")]],
    ),
    "openai with tools": (
        "openai", "o.jsonl",
        [{"messages": [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]},
          {"role": "tool", "tool_call_id": "c1", "content": "dry"}, {"role": "assistant", "content": "No."}],
          "tools": [TOOL]}],
        [[("u", "Rain?"), ("a", ""), ("t", "dry"), ("a", "No.")]],
    ),
    "natural instructions": (
        "natural-instructions", "task1_mood.json", NATURAL, [[("u", "Name the mood.\n\noh no"), ("a", "NEG")]],
    ),
    "prompt and completion": (
        "prompt-completion", "p.jsonl", [{"prompt": "2 + 2 =", "completion": " 4"}], [[("u", "2 + 2 ="), ("a", " 4")]],
    ),
    "P3": (
        "inputs-targets", "p3.jsonl", [{"inputs": [5, 6], "inputs_pretokenized": "Is it so?", "targets_pretokenized": "Yes"}],
        [[("u", "Is it so?"), ("a", "Yes")]],
    ),
    "input and output": ("inputs-targets", "io.json", [{"input": "cat", "output": "chat"}], [[("u", "cat"), ("a", "chat")]]),
    "question and answer": (
        "question-answer", "q.jsonl", [{"question": "Why?", "answer": 42}], [[("u", "Why?"), ("a", "42")]],
    ),
    "gsm8k": (
        "gsm8k", "g.jsonl", [{"question": "How many?", "answer": "48/2 = <<48/2=24>>24 clips.\n#### 24"}],
        [[("u", "How many?"), ("a", "48/2 = 24 clips.\n#### 24")]],
    ),
    "chain of thought": (
        "flan-cot", "cot_train.tsv", '"It is true."\\nIs it?\tyes\tIt is said so.\n',
        [[("u", '"It is true."\nIs it?'), ("a", "It is said so.\nThe answer is yes.")]],
    ),
    "chain of thought in fields": (
        "flan-cot", "cot.jsonl", [{"question": "Is it?", "answer": "yes", "rationale": "It is said so."}],
        [[("u", "Is it?"), ("a", "It is said so.\nThe answer is yes.")]],
    ),
    "labelled": (
        "labelled", "reviews.txt", TSV.replace("document", "review"),
        [[("u", "good film\n\nOPTIONS:\n- 0\n- 1"), ("a", "1")], [("u", 'she said "no"\n\nOPTIONS:\n- 0\n- 1'), ("a", "0")]],
    ),
    "labels of NSMC are its words": (
        "labelled", "ratings.txt", TSV,
        [
            [("u", "good film\n\nOPTIONS:\n- negative\n- positive"), ("a", "positive")],
            [("u", 'she said "no"\n\nOPTIONS:\n- negative\n- positive'), ("a", "negative")],
        ],
    ),
    "three labels in NSMC's fields are none of NSMC": (
        "labelled", "topics.txt", TSV + "9\tnews\t2\n",
        [[("u", f"{said}\n\nOPTIONS:\n- 0\n- 1\n- 2"), ("a", label)]
         for said, label in (("good film", "1"), ('she said "no"', "0"), ("news", "2"))],
    ),
    "hh-rlhf": (
        "hh-rlhf", "h.jsonl",
        [{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nthere", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away"}],
        [[("u", "Hi"), ("a", "Hello\n\nthere"), ("r", "Go away")]],
    ),
    "preferences": (
        "preferences", "p.jsonl", [{"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}],
        [[("u", "Hi"), ("a", "Hello"), ("r", "Go away")]],
    ),
    "preferences as messages": (
        "preferences", "p.jsonl",
        [{"prompt": "Hi", "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
          "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Go"}]}],
        [[("u", "Hi"), ("a", "Hello"), ("r", "Go")]],
    ),
    "instruction induction": (
        "instruction-induction", "execute.plural.json",
        {"metadata": {"num_examples": 1}, "examples": {"1": {"input": "cat", "output": "cats"}}},
        [[("u", "plural\n\ncat"), ("a", "cats")]],
    ),
    "common concept": (
        "instruction-induction", "execute.common_concept.json",
        {"examples": {"1": {"concept": "involve strings", "items": ["guitars", "kites"]}}},
        [[("u", "common concept\n\nguitars, kites"), ("a", "involve strings")]],
    ),
}  # fmt: skip


def write(path: Path, content: Any) -> Path:
    if isinstance(content, str):
        text = content
    elif path.suffix == ".jsonl":
        text = "".join(json.dumps(row) + "\n" for row in content)
    else:
        text = json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def only(path: Path, format: str = "") -> Reading:
    (reading,), _ = read(path, format)
    return reading


def turns(conversation: Conversation) -> list[tuple[str, str]]:
    said = [(message.role[0], message.content) for message in conversation.messages]
    return said + ([("r", conversation.rejected)] if conversation.rejected else [])


@pytest.mark.parametrize(("format", "name", "content", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_a_small_file_is_guessed_and_read(
    format: str, name: str, content: Any, expected: list[list[tuple[str, str]]], tmp_path: Path
) -> None:
    path = write(tmp_path / name, content)
    guessed, named = only(path), only(path, format)
    assert guessed.format == named.format == format
    assert [turns(each) for each in guessed.conversations] == expected
    assert guessed.conversations == named.conversations
    assert guessed.dropped == {}
    assert guessed.guessed_from
    assert not named.guessed_from


def test_every_format_has_a_small_file() -> None:
    assert {format for format, *_ in WRITTEN.values()} == {each.name for each in FORMATS}


def test_what_stands_beside_the_turns_is_kept(tmp_path: Path) -> None:
    (dolly,) = only(write(tmp_path / "d.jsonl", WRITTEN["dolly"][2])).conversations
    assert dolly.category == "closed_qa"
    (natural,) = only(write(tmp_path / "task1_mood.train.json", NATURAL)).conversations
    assert (natural.task, natural.category) == ("task1_mood", "Sentiment")
    assert natural.source == "task1_mood.train.json, instance 1 (t-1)"
    (asked,) = only(write(tmp_path / "o.jsonl", WRITTEN["openai with tools"][2])).conversations
    assert asked.tools == (TOOL,)
    assert asked.messages[1].tool_calls == (CALL,)
    assert asked.messages[2].tool_call_id == "c1"


def test_a_preference_pair_that_repeats_its_messages_is_a_pair(tmp_path: Path) -> None:
    (row,) = WRITTEN["preferences as messages"][2]
    reading = only(write(tmp_path / "u.jsonl", [{**row, "messages": row["chosen"]}]))
    assert (reading.format, reading.also) == ("preferences", ("openai",))


def test_what_is_worth_knowing_of_rows_is_counted(tmp_path: Path) -> None:
    notes = only(write(tmp_path / "task1.json", NATURAL)).notes
    assert notes == {"positive examples, not among the rows": 1, "further right answers, not used": 1}
    rows = [{"question": "?", "answer": "<<1+1=2>>2, <<2*2=5>>5, <<a=b>>c\n#### 5"}]
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "weight": 0}]
    notes = only(write(tmp_path / "w.jsonl", [{"messages": said}])).notes
    assert notes == {"messages of weight 0, learned like the others": 1}
    notes = only(write(tmp_path / "g.jsonl", rows)).notes
    assert notes == {"calculator annotations, taken out": 3, "of these wrong": 1, "of these no arithmetic": 1}


def test_a_task_of_instruction_induction_is_asked_in_the_wordings_beside_it(tmp_path: Path) -> None:
    examples = {"examples": {str(n): {"input": f"word {n}", "output": "x"} for n in range(40)}}
    write(tmp_path / "annotations.plural.json", {"annotations": ["Make it plural: ", "More than one, please."]})
    write(tmp_path / "induce.plural.json", examples)
    (reading,), passed_over = read(tmp_path)
    asked = {each.messages[0].content.split("\n\n")[0] for each in reading.conversations}
    assert asked == {"Make it plural:", "More than one, please."}
    assert list(passed_over) == ["annotations.plural.json"]
    assert reading.conversations[0].task == "plural"


def test_cause_and_effect_stand_in_either_order_and_the_cause_is_the_answer(tmp_path: Path) -> None:
    examples = {"examples": {str(n): {"cause": f"It rained {n}.", "effect": f"He got wet {n}."} for n in range(40)}}
    found = only(write(tmp_path / "execute.cause_and_effect.json", examples)).conversations
    assert all(each.answer.startswith("It rained") for each in found)
    first = sum("Sentence 1: It rained" in each.messages[0].content for each in found)
    assert 8 < first < 32  # 20 by a fair coin, 4 standard deviations wide


def as_gzip(folder: Path, rows: list[dict[str, str]]) -> Path:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return folder / "a.jsonl.gz"


def as_zip(folder: Path, rows: list[dict[str, str]]) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("inside/a.json", json.dumps(rows))
    return folder / "a.zip"


def as_parquet(folder: Path, rows: list[dict[str, str]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    return folder / "a.parquet"


def as_csv(folder: Path, rows: list[dict[str, str]]) -> Path:
    cells = "".join(f'"{row["Instruction"]}",{row["Output"]}\r\n' for row in rows)
    (folder / "a.csv").write_bytes(("\ufeffInstruction,Output\r\n" + cells).encode())
    return folder / "a.csv"


def as_json_lines_named_json(folder: Path, rows: list[dict[str, str]]) -> Path:
    return write(folder / "a.json", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("written", [as_gzip, as_zip, as_parquet, as_csv, as_json_lines_named_json])
def test_the_same_rows_are_read_from_every_kind_of_file(written: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"Instruction": "First,\nsecond", "Output": "넓은"}, {"Instruction": "Third", "Output": "x"}]
    reading = only(written(tmp_path, rows))
    assert reading.format == "alpaca"
    assert [turns(each) for each in reading.conversations] == [
        [("u", "First,\nsecond"), ("a", "넓은")],
        [("u", "Third"), ("a", "x")],
    ]


def test_messages_in_parquet_and_in_csv_are_read_as_those_in_json(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    mixed = [{**message, "from": None, "tool_calls": None} for message in said]
    pq.write_table(pa.Table.from_pylist([{"messages": mixed}]), tmp_path / "m.parquet")
    quoted = json.dumps(said).replace('"', '""')
    (tmp_path / "m.csv").write_text(f'messages,prompt\n"{quoted}",Hi\n', encoding="utf-8")
    for name in ("m.parquet", "m.csv"):
        reading = only(tmp_path / name)
        assert (reading.format, turns(reading.conversations[0])) == ("openai", [("u", "Hi"), ("a", "Hello")])


def test_how_far_a_reading_is_rises_from_nothing_to_the_end(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", [{"prompt": f"{number}", "completion": "x" * 20} for number in range(12_000)])
    told: list[float] = []
    read(tmp_path, progress=told.append)
    assert len(told) == 2 * 2 * 2  # files, halves, times 5,000 rows
    assert told == sorted(told)
    assert 0 < told[0] < 0.25
    assert 0.75 < told[-1] <= 1
