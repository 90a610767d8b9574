"""Reading anybody's table: columns are guessed and shown, what is missing follows, a wrong table gets one sentence."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.scaling.columns import parse_mapping, to_number
from tasks.scaling.runs import Runs, read_runs


def table(folder: Path, text: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Model Size,Training Tokens,Training FLOP,loss", ("Model Size", "Training Tokens", "loss")),
        ("N,D,C,L", ("N", "D", "L")),
        ("params,tokens,flops,val_loss", ("params", "tokens", "val_loss")),
        ("n_params,n_tokens,compute_flops,loss_colorbar_cal", ("n_params", "n_tokens", "loss_colorbar_cal")),
        ("nonembed_params,train_tokens,compute,Final loss", ("nonembed_params", "train_tokens", "Final loss")),
    ],
)
def test_names_of_public_tables_are_guessed(header: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    runs = read_runs(table(tmp_path, f"{header}\n1e6,2e7,1.2e14,3.5\n2e6,4e7,4.8e14,3.2\n"))
    assert tuple(runs.columns[role] for role in ("parameters", "tokens", "loss")) == expected
    assert runs.parameters.tolist() == [1e6, 2e6]
    assert runs.loss.tolist() == [3.5, 3.2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("params,flops,loss\n1e6,1.2e14,3.5\n", "tokens follow from D = C / (6 N)"),
        ("flops,tokens,loss\n1.2e14,2e7,3.5\n", "parameters follow from N = C / (6 D)"),
        ("params,tokens,loss\n1e6,2e7,3.5\n", "6 N D: the table has none"),
    ],
)
def test_of_three_sizes_the_missing_one_follows_and_this_is_said(text: str, said: str, tmp_path: Path) -> None:
    runs = read_runs(table(tmp_path, text))
    assert (runs.parameters[0], runs.tokens[0], runs.flops[0]) == pytest.approx((1e6, 2e7, 1.2e14))
    assert said in runs.conventions["flops"]


def test_every_format_gives_the_same_runs(tmp_path: Path) -> None:
    columns = {"params": [1e6, 2e6], "tokens": [2e7, 4e7], "loss": [3.5, 3.25]}
    text = "params,tokens,loss\n1e6,2e7,3.5\n2e6,4e7,3.25\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    paths = [
        table(tmp_path, text), table(tmp_path, text.replace(",", ";"), "b.csv"), tmp_path / "a.csv.gz",
        tmp_path / "a.parquet", table(tmp_path, "\n".join(lines), "a.jsonl"),
    ]  # fmt: skip
    for path in paths:
        runs = read_runs(path)
        assert (runs.parameters.tolist(), runs.tokens.tolist(), runs.loss.tolist()) == tuple(columns.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column of numbers looks like a loss; name it with --columns loss=NAME: a, b"),
        ("loss,x\n1,2\n", "two of parameters, tokens and flops are needed .* like parameters, tokens, flops"),
        ("N,D,loss\n1e6,2e7,3\n1e6,abc,3\n1e6,2e7,3\n", "row 2: D: 'abc' is not a number"),
        ("N,D,loss\n1e6,2e7,0\n", "row 1: loss: '0' must be a finite number above 0"),
        ("N,D,loss\n-1,2e7,3\n", "row 1: N: '-1' must be a finite number above 0"),
        ("N,D,loss\n1e6,2e7,inf\n", "row 1: loss: 'inf' must be a finite number above 0"),
        ("N,D,loss\n1e6,2e7,nan\n", "loss: there is not one number in it"),
        ("N,D,loss\n1e6,2e7\n", "row 1 has 2 cells and the first line names 3 columns"),
        ("N,N,loss\n1,2,3\n", "the column 'N' stands twice"),
        ("N,D,loss\n", "the table has no rows"),
        ("", "the table has no rows"),
    ],
)
def test_a_wrong_table_gets_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_runs(table(tmp_path, text))
    assert "runs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["runs.pickle", "runs.pickle.xz", "runs.txt", "absent.csv"])
def test_what_is_no_table_is_refused(name: str, tmp_path: Path) -> None:
    if name != "absent.csv":
        (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match=r"pickle runs whatever is in it|not a table|no such file"):
        read_runs(tmp_path / name)


def test_named_columns_are_taken_at_their_word(tmp_path: Path) -> None:
    path = table(tmp_path, "size_m,text,N,D,score,loss\n5,6,1e6,2e7,2.5,3.5\n")
    runs = read_runs(path, columns=parse_mapping("parameters=size_m,loss=score"))
    assert (runs.parameters[0], runs.tokens[0], runs.loss[0]) == (5, 2e7, 2.5)
    with pytest.raises(ValueError, match="has no column 'x' for loss; it has size_m, text"):
        read_runs(path, columns={"loss": "x"})
    with pytest.raises(ValueError, match="expected ROLE=COLUMN, where ROLE is one of parameters, tokens"):
        parse_mapping("size=N")


def test_rows_without_a_figure_are_left_out_and_counted(tmp_path: Path) -> None:
    runs = read_runs(table(tmp_path, "N,D,loss\n1e6,2e7,3.5\n2e6,4e7,\n3e6,0,3.2\n,1e7,3\n4e6,4e7,nan\n5e6,9e7,3.1\n"))
    assert runs.row.tolist() == [1, 6]
    assert runs.dropped == {
        "parameters are empty or NaN": 1,
        "tokens are empty, NaN or 0 (untrained)": 1,
        "loss is empty or NaN": 2,
    }


def test_a_mixture_of_kinds_is_said_and_where_takes_one(tmp_path: Path) -> None:
    path = table(tmp_path, "N,D,loss,text\n1e6,2e7,3.5,c4\n2e6,2e7,3.4,c4\n1e6,2e7,3.3,pile\n2e6,2e7,3.2,pile\n")
    assert any("text differs between rows (c4, pile): --where text=c4" in note for note in read_runs(path).notes)
    runs = read_runs(path, where=["text=pile"])
    assert runs.row.tolist() == [3, 4]
    assert not any("differs" in note for note in runs.notes)
    with pytest.raises(ValueError, match=r"no row of runs.csv has it; text is c4, pile"):
        read_runs(path, where=["text=web"])


def test_perplexities_and_bits_become_nats(tmp_path: Path) -> None:
    runs = read_runs(table(tmp_path, "N,D,ppl\n1e6,2e7,20.0855369\n"))
    assert runs.loss[0] == pytest.approx(3)
    bits = read_runs(table(tmp_path, "N,D,loss\n1e6,2e7,3\n"), unit="bits")
    assert bits.loss[0] == pytest.approx(3 * np.log(2))
    assert "bits" in bits.conventions["loss"]


@pytest.mark.parametrize(("cell", "number"), [("70M", 7e7), ("1.4B", 1.4e9), ("1,000", 1e3), ("2e7", 2e7), ("x", None)])
def test_numbers_as_people_write_them(cell: str, number: float | None) -> None:
    assert to_number(cell) == number


def test_the_end_of_each_run_and_the_rows_of_the_highest_loss(tmp_path: Path) -> None:
    text = "run,N,D,loss\na,1e6,1e7,5\na,1e6,2e7,4\nb,2e6,1e7,4.5\nb,2e6,2e7,3.9\nc,3e6,9e6,6\n"
    runs = read_runs(table(tmp_path, text))
    finals = runs.finals()
    assert finals.row.tolist() == [2, 4, 5]
    assert finals.dropped == {"not the last row of its run": 2}
    kept = finals.without_highest(1)
    assert kept.row.tolist() == [2, 4]
    with pytest.raises(ValueError, match="below the 3 rows"):
        finals.without_highest(3)


def test_public_tables_are_read_as_they_are(test_data: Path) -> None:
    pythia = read_runs(test_data / "scaling_pythia" / "pythia_v1_evals_flat.csv.gz", where=["shots=zero-shot"])
    assert pythia.columns["parameters"] == "nonembed_params"
    assert "ppl" in pythia.conventions["loss"]
    assert "without embeddings" in pythia.conventions["parameters"]
    assert (len(pythia), len(pythia.finals())) == (390, 15)
    over_trained = read_runs(test_data / "scaling_overtraining" / "models_flat.csv")
    assert over_trained.columns["loss"] == "loss:openlm"
    assert len(over_trained) == 104
    points = read_runs(test_data / "scaling_discrepancies" / "isoflop_points.csv")
    assert _sixes(points) == pytest.approx(1, rel=0.2)
    with pytest.raises(ValueError, match="no column of numbers looks like a loss"):
        read_runs(test_data / "scaling_overtraining" / "eval_metadata.csv")


def _sixes(runs: Runs) -> float:
    return float(np.median(runs.flops / (6 * runs.parameters * runs.tokens)))
