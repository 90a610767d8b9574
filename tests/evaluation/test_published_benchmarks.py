"""Published benchmarks by the fields of their files: a row of each as it was published, and what becomes of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.brought import brought
from tasks.evaluation.prompts import filled

QUOREF = {"Definition": ["Answer it."], "Instances": [{"input": "Who?", "output": ["Ada", "Ada L."]}]}
CSQA = {
    "answerKey": "B",
    "id": "1",
    "question": {"stem": "Where?", "choices": [{"label": "A", "text": "bank"}, {"label": "B", "text": "park"}]},
}
# name, rows as published, the question, the answer as an example shows it, the options and which of them are right
ROWS: list[tuple[str, Any, str, str, tuple[str, ...], tuple[int, ...]]] = [
    ("gsm8k", {"question": "How many?", "answer": "2+3 = <<2+3=5>>5\n#### 5"}, "How many?", "5", (), ()),
    (
        "svamp",
        {"ID": "c1", "Body": "Ann has 3 pens", "Question": "How many?", "Equation": "3", "Answer": 3.0, "Type": "x"},
        "Ann has 3 pens. How many?",
        "3",
        (),
        (),
    ),
    (
        "multiarith",
        {"iIndex": 1, "sQuestion": " How many? ", "lEquations": ["X=3"], "lSolutions": [3.0]},
        "How many?",
        "3",
        (),
        (),
    ),
    (
        "aqua",
        {"question": "x?", "options": ["A)21", "B)22"], "rationale": "So 22", "correct": "B"},
        "x?",
        "(B)",
        ("21", "22"),
        (1,),
    ),
    ("commonsenseqa", CSQA, "Where?", "(B)", ("bank", "park"), (1,)),
    (
        "commonsenseqa",
        {"id": "1", "question": "Where?", "choices": {"label": ["A", "B"], "text": ["bank", "park"]}, "answerKey": "A"},
        "Where?",
        "(A)",
        ("bank", "park"),
        (0,),
    ),
    (
        "strategyqa",
        {"qid": "1", "question": "Is it?", "answer": True, "facts": ["It is."], "decomposition": []},
        "Is it?",
        "yes",
        ("yes", "no"),
        (0,),
    ),
    (
        "strategyqa",
        {"examples": [{"input": "Is it?", "target_scores": {"Yes": 0, "No": 1}}]},
        "Is it?",
        "no",
        ("yes", "no"),
        (1,),
    ),
    (
        "bbh/rows",
        {"canary": "x", "examples": [{"input": "Q\nOptions:\n(A) x\n(B) y", "target": "(B)"}]},
        "Q\nOptions:\n(A) x\n(B) y",
        "(B)",
        ("(A)", "(B)"),
        (1,),
    ),
    ("bbh/rows", {"examples": [{"input": "not True is", "target": "False"}]}, "not True is", "False", (), ()),
    (
        "mmlu",
        {"question": "x?", "subject": "law", "choices": ["p", "q", "r", "s"], "answer": 2},
        "x?",
        "(C)",
        ("p", "q", "r", "s"),
        (2,),
    ),
    ("truthfulqa_mc1", {"question": "x?", "mc1_targets": {"Yes.": 0, "No.": 1}}, "x?", "No.", ("Yes.", "No."), (1,)),
    (
        "truthfulqa_mc2",
        {"question": "x?", "mc2_targets": {"choices": ["a", "b", "c"], "labels": [1, 0, 1]}},
        "x?",
        "a",
        ("a", "b", "c"),
        (0, 2),
    ),
    ("nsmc", {"id": 1, "document": "좋다", "label": 1}, "좋다", "positive", ("negative", "positive"), (1,)),
    (
        "klue_nli",
        {"guid": "1", "premise": "p", "hypothesis": "h", "gold_label": "neutral"},
        "p",
        "neutral",
        ("entailment", "neutral", "contradiction"),
        (1,),
    ),
    ("natural_instructions/rows", QUOREF, "Who?", "Ada", (), ()),
    (
        "instruction_induction/rows",
        {"examples": {"1": {"input": "real", "output": "nominal"}}},
        "real",
        "nominal",
        (),
        (),
    ),
    (
        "instruction_induction/rows",
        {"examples": {"1": {"concept": "are green.", "items": ["grass", "a frog"], "all_common_concepts": ["grow."]}}},
        "grass, a frog",
        "are green.",
        (),
        (),
    ),
    (
        "flan_cot/rows",
        {"question": "Is it?", "answer": "yes", "rationale": "It\nis."},
        "Is it?",
        "yes",
        (),
        (),
    ),
    (
        "instructions",
        {"instruction": "Sum up.", "context": "A long text.", "response": "A text.", "category": "summarization"},
        "Sum up.\n\nA long text.",
        "A text.",
        (),
        (),
    ),
    ("instructions", {"instruction": "Say hi.", "input": "", "output": "Hi."}, "Say hi.", "Hi.", (), ()),
]


def written(folder: Path, *rows: object, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "row", "question", "shown", "options", "right"), ROWS)
def test_a_published_row_is_recognised_by_its_fields(
    tmp_path: Path, name: str, row: object, question: str, shown: str, options: tuple[str, ...], right: tuple[int, ...]
) -> None:
    (found,) = brought([written(tmp_path, row)])
    (item,) = found.test
    assert (found.benchmark.name, item.slots["text"], item.shown) == (name, question, shown)
    assert (item.options, item.right) == (options, right)
    for template in found.benchmark.templates:
        assert question in filled(template, item)


@pytest.mark.parametrize(("label", "topic"), [("정치", "정치"), (0, "IT과학"), (6, "정치")])
def test_topics_of_klue_are_words_or_their_numbers(tmp_path: Path, label: object, topic: str) -> None:
    (found,) = brought([written(tmp_path, {"guid": "1", "title": "t", "label": label, "url": ""})])
    assert found.test[0].shown == topic


def test_a_line_of_mmlu_without_a_header_may_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "law_test.csv"
    path.write_text('"One, or\ntwo?",a,"b, c",d,e,B\n"3?",1,2,3,4,C\n', encoding="utf-8")
    (found,) = brought([path])
    assert [(item.slots["text"], item.shown, item.options[1]) for item in found.test] == [
        ("One, or\ntwo?", "(B)", "b, c"),
        ("3?", "(C)", "2"),
    ]


def test_what_has_no_answer_is_passed_over_and_counted_and_an_empty_alternative_is_none(tmp_path: Path) -> None:
    """As six summaries of task511 of Natural Instructions, and one translation of Instruction Induction."""
    said = [{"input": "a", "output": [""]}, {"input": "b", "output": ["", "c"]}]
    (found,) = brought([written(tmp_path, {"Definition": ["Sum it up."], "Instances": said})])
    assert [(item.slots["text"], item.golds, item.shown) for item in found.test] == [("b", ("c",), "c")]
    assert found.empty == 1


def test_a_table_of_nsmc_is_read_and_reviews_without_a_word_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "ratings_train.txt"
    path.write_text("id\tdocument\tlabel\n1\t굳 ㅋ\t1\n2\t\t0\n3\t별로\t0\n", encoding="utf-8")
    (found,) = brought([path])
    assert [(item.slots["text"], item.shown) for item in found.train] == [("굳 ㅋ", "positive"), ("별로", "negative")]
    assert found.empty == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "there is no question in it"),
        ([{"prompt": "x"}], "no published benchmark has prompt"),
        ([["x", "y"]], "no published benchmark has lines of 2 cells and no header"),
        ([{"instruction": "Do it.", "output": " "}], "line 1: read as instructions: its answer is empty"),
        (
            [
                {"question": "x?", "choices": ["p", "q"], "answer": 1},
                {"question": "y?", "choices": ["p", "q"], "answer": 2},
            ],
            "line 2: read as mmlu: the answer 2 is none of its 2 options",
        ),
        (
            [{"document": "x", "label": 1}, {"document": "y", "label": 7}],
            "line 2: read as nsmc: the label 7 is none of negative, positive",
        ),
        (
            [{"question": "x?", "answer": "#### 5"}, {"question": "y?"}, {"question": "z", "answer": "#### 1"}],
            "line 2: a gsm8k needs the field 'answer'",
        ),
        (
            [{"question": "x?", "answer": "#### 5"}, {"question": "y?", "answer": "#### a few"}],
            "line 2: gold: '#### a few' is not one number",
        ),
        (
            [{"question": "x?", "answer": "perhaps", "facts": []}],
            "line 1: read as strategyqa: gold: 'perhaps' is neither",
        ),
        ([{"question": "x?", "choices": ["p", " "], "answer": 0}], "line 1: expected at most 26 options, each with a"),
        ([{"question": "x?", "choices": ["p"] * 27, "answer": 0}], "line 1: expected at most 26 options"),
        (
            [{"examples": [{"input": "x", "target": "y"}, {"input": "x"}]}],
            "line 1, after example 1: a bbh needs the field 'target'; mend",
        ),
        ([5], "no published benchmark has rows without names"),
        ([{"question": {}, "answer": "5", "rationale": "4 + 1"}], "no published benchmark has question, answer, rat"),
        (
            [{"definition": [], "instances": [{"input": "x", "output": ["y"]}]}],
            "line 1: read as natural_instructions: its",
        ),
        (["hello"], "no published benchmark has rows without names"),
        ([{"examples": 5}], "no published benchmark has examples"),
        ([{"question": {"a": 1}, "answer": "b", "rationale": "c"}], "no published benchmark has question, answer"),
        (
            [{"question": ["x?"], "choices": ["p", "q"], "answer": 0}],
            "line 1: a field that is not a text (text: a list)",
        ),
        ([{"question": "\ud83d", "choices": ["p", "q"], "answer": 0}], "line 1: not UTF-8 text (text, at character 0)"),
        ([{"question": "x?", "choices": ["p", "\ud83d"], "answer": 0}], "line 1: not UTF-8 text (an option, at"),
        (
            [{"question": {"stem": "x?", "choices": "pq"}, "answerKey": "A"}],
            "line 1: its fields do not hold what those of a commonsenseqa hold",
        ),
        (
            [{"examples": [{"input": "x?\n(A) p\n(B) q", "target": "(C)"}]}],
            "line 1: read as bbh: the target '(C)' is none of its options (A), (B)",
        ),
    ],
)
def test_what_is_no_benchmark_is_refused_with_its_place(tmp_path: Path, rows: list[object], said: str) -> None:
    with pytest.raises(ValueError, match=r"rows\.jsonl") as caught:
        brought([written(tmp_path, *rows)])
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("", "x.json: invalid JSON"), ('{"examples": [', "x.json: invalid JSON")])
def test_a_whole_file_that_is_no_json_is_refused_without_a_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f"{text}\n")
    with pytest.raises(ValueError, match=re.escape(said)):
        brought([path])


@pytest.mark.parametrize(("name", "mark"), [("dolly.csv", ","), ("dolly.tsv", "\t")])
def test_the_header_of_a_table_of_instructions_is_no_question(tmp_path: Path, name: str, mark: str) -> None:
    path = tmp_path / name
    rows = [
        ("instruction", "context", "response"),
        ("Name a colour.", "", "Red"),
        ("Name another.", "Not red.", "Blue"),
    ]
    path.write_text("".join(f"{mark.join(row)}\n" for row in rows))
    (found,) = brought([path])
    assert found.benchmark.name == "instructions"
    assert [(item.slots["text"], item.shown) for item in found.test] == [
        ("Name a colour.", "Red"), ("Name another.\n\nNot red.", "Blue")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("one.json", b'{"question": "x?"', r"one\.json: invalid JSON; mend it"),  # no place inside, and no comma for it
        (
            "m.csv",
            b"x?,p,q,r,s,A\n" * 900 + b"y?,p\xff,q,r,s,A\n",
            r"m\.csv, line 901: not UTF-8 text; write it as CSV",
        ),
        (
            "m.csv",
            b"x?,p,q,r,s,A\ny?,p,q,r,A\n",
            r"m\.csv, row 2: read as mmlu: 5 cells, and a line has a question, four",
        ),
        ("m.csv", "x?,p,q,r,s,A\n".encode("utf-16"), r"m\.csv, line 1: invalid encoding; mend it"),
        (
            "n.tsv",
            "id\tdocument\tlabel\n1\tx\t1\n".encode("cp949").replace(b"x", b"\xc1"),
            r"n\.tsv, line 2: not UTF-8",
        ),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_place_of_the_fault(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=said):
        brought([tmp_path / name])


def test_a_broken_file_in_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("NSMC", encoding="utf-8")
    written(tmp_path, {"document": "x", "label": 1})
    assert len(brought([tmp_path])[0].test) == 1
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"test\.parquet: broken Parquet; mend it"):
        brought([tmp_path])


def test_a_table_that_is_no_text_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "anatomy.csv"
    path.write_bytes(b"x?,p,q,r,s,A\ny?,p\xff,q,r,s,A\n")
    with pytest.raises(ValueError, match=r"anatomy\.csv, line .*; write it as CSV in UTF-8"):
        brought([path])


def test_items_of_files_with_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    for part in ("here", "there"):
        (tmp_path / part).mkdir()
        written(tmp_path / part, {"document": part, "label": 1}, {"document": "x", "label": 0})
    (found,) = brought([tmp_path, tmp_path])
    assert len({item.id for item in found.test}) == len(found.test) == 4


@pytest.mark.parametrize(
    ("example", "golds"),
    [
        ({"input": "compete", "output": "neat", "other_rhymes": ["eat", "neat"]}, ("neat", "eat")),
        ({"input": "place", "output": "Platz", "possible_translations": ["Ort"]}, ("Platz", "Ort")),
        ({"input": "x", "output": "not the same", "possible_outputs": ["no"]}, ("not the same", "no")),
        ({"cause": "It rained.", "effect": "It is wet."}, ("It rained.",)),
    ],
)
def test_all_answers_that_the_authors_of_instruction_induction_count_as_right_are_right(
    tmp_path: Path, example: object, golds: tuple[str, ...]
) -> None:
    (found,) = brought([written(tmp_path, {"examples": {"1": example}})])
    assert found.test[0].golds == golds


def test_a_task_of_instruction_induction_is_asked_in_a_wording_from_the_file_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, {"examples": {"1": {"input": "a", "output": "b"}}}, name="execute.first_letter.json")
    (named,) = brought([path])
    assert named.test[0].slots["instruction"] == "first letter"
    written(tmp_path, {"annotations": [" Name the first letter. "]}, name="annotations.first_letter.json")
    (worded,) = brought([path])
    assert filled(worded.benchmark.templates[0], worded.test[0]) == "Name the first letter.\n\na"


def test_a_line_of_flan_cot_has_no_header_and_its_rationale_is_an_example_s(tmp_path: Path) -> None:
    path = tmp_path / "creak_train.tsv"
    path.write_text("Is it so?\\n(A) yes\tyes\tIt is.\n", encoding="utf-8")
    (found,) = brought([path])
    (item,) = found.train
    assert (found.benchmark.name, item.slots["text"]) == ("flan_cot/creak_train", "Is it so?\n(A) yes")
    assert (item.shown, item.rationale) == ("yes", "It is.")


PUBLIC = [("dolly", 1, 2996), ("flan_cot", 7, 33_443), ("instruction-induction", 24, 8514), ("nsmc", 1, 49_997)]


@pytest.mark.parametrize(("folder", "benchmarks", "questions"), PUBLIC)
def test_every_row_of_a_public_folder_that_can_be_learned_can_be_asked(
    folder: str, benchmarks: int, questions: int, test_data: Path
) -> None:
    found = brought([test_data / folder])
    assert (len(found), sum(len(each.train) + len(each.test) for each in found)) == (benchmarks, questions)


def test_every_row_of_gsm8k_is_a_question_with_a_number(test_data: Path) -> None:
    (found,) = brought([test_data / "gsm8k"])
    assert (found.benchmark.name, len(found.train), found.test) == ("gsm8k", 7473, [])
    assert all(item.rationale and "<<" not in item.rationale for item in found.train)
