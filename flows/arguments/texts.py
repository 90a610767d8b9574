"""`espalier data`, `generations` and `tokenizers`."""

import argparse
from typing import Any

from flows.arguments.adding import add, json_option


def add_data(commands: Any) -> None:
    data = commands.add_parser(
        "data", help="name the text to train on, look at conversations", epilog="example: espalier data add my/texts"
    )
    verbs = data.add_subparsers(title="data commands", required=True, metavar="VERB")
    adding = add(verbs, "add", data_add, "add your own text to a corpus", "espalier data add my/texts --replace")
    adding.add_argument(
        "path",
        help="a file, a folder or a glob: text, Markdown, HTML, JSON lines, Parquet, CSV, TSV, zip or gzip of these; or "
        "hf:OWNER/NAME, a data set that is copied from the Hugging Face Hub",
    )
    adding.add_argument(
        "--column", default="", metavar="NAME",
        help="the column or field that holds the text (default: a usual name like text, or the only one with text in it)",
    )  # fmt: skip
    adding.add_argument("--corpus", default="default", help="which corpus of params.yaml (default: default)")
    adding.add_argument("--replace", action="store_true", help="take the place of the corpus's sources, not join them")
    label = add(verbs, "label", data_label, "give people's comparisons of answers", "espalier data label mine.jsonl")
    label.add_argument("path", help='JSON lines: {"prompt", "chosen", "rejected"}; they replace the rule annotator')
    label.add_argument("--corpus", default="default", help="which corpus of params.yaml (default: default)")
    label.add_argument("--replace", action="store_true", help="take the place of earlier comparisons, not join them")
    json_option(label, '{"labels": PATH, "pairs": N}')
    look = add(
        verbs, "look", data_look, "say what conversations a file holds, and which of its rows are none",
        "espalier data look alpaca_data.json",
    )  # fmt: skip
    look.add_argument(
        "path", help="a file, a folder or a glob: JSON, JSON lines, Parquet, CSV or TSV, also in gzip, zip or tar"
    )
    instruct = add(
        verbs, "instruct", data_instruct, "give conversations to instruction tuning",
        "espalier data instruct alpaca_data.json",
    )  # fmt: skip
    instruct.add_argument("path", help="what `espalier data look` reads; only the assistant's turns are learned")
    instruct.add_argument("--corpus", default="default", help="which corpus of params.yaml (default: default)")
    instruct.add_argument("--replace", action="store_true", help="take the place of earlier ones, not join them")
    for command in (look, instruct):
        command.add_argument(
            "--format", default="", metavar="NAME",
            help="read it as this format, for example alpaca (default: guessed from the fields; `--format ?` lists all)",
        )  # fmt: skip
    json_option(instruct, '{"conversations": PATH, "in_all": N, "dropped": N, "left_out": {REASON: N}}')
    json_option(look, '{"rows", "kept", "dropped": {REASON: N}, "turns", "files": [...], "examples": [...], ...}')
    listing = add(verbs, "list", data_list, "list the sources of every corpus", "espalier data list")
    json_option(listing, '{"corpora": {NAME: {"sources": [...]}}}')
    json_option(adding, '{"corpora": {NAME: {"sources": [...]}}, "columns": {FILE: COLUMN}}')


def add_generations(commands: Any) -> None:
    compare = add(
        commands, "generations", generations_command, "train the history of language models on a text, side by side",
        "espalier generations --level word --train train.txt --valid valid.txt --test test.txt",
    )  # fmt: skip
    for name in ("train", "valid", "test"):
        compare.add_argument(f"--{name}", metavar="FILE", help="plain text, a sentence a line, or JSON lines; .gz too")
    compare.add_argument("--corpus", default="default", help="whose text, where no files are named (default: default)")
    compare.add_argument(
        "--level", choices=("word", "subword", "char"), default="subword", help="what a model reads (default: subword)"
    )
    compare.add_argument("--models", metavar="NAME,…", help="which (default: all)")
    compare.add_argument(
        "--budget-minutes", dest="minutes", type=float, default=10.0, metavar="M",
        help="minutes of training of all together (default: 10)",
    )  # fmt: skip
    compare.add_argument(
        "--labelled", metavar="FILE", help="sentences with a label (JSON lines or a table): can their vectors tell it?"
    )
    compare.add_argument("--subwords", type=int, default=4096, help="size of the subword vocabulary (default: 4096)")
    json_option(
        compare, '{"rows": [{"model", "year", "parameters", "train_flops", "seconds", "valid_perplexity", ...}]}'
    )


def add_tokenizers(commands: Any) -> None:
    tokenizers = commands.add_parser(
        "tokenizers", help="compare and export tokenizers", epilog="example: espalier tokenizers measure my/texts"
    )
    verbs = tokenizers.add_subparsers(title="tokenizers commands", required=True, metavar="VERB")
    measure = add(
        verbs, "measure", tokenizers_measure, "measure tokenizers on texts, to choose one",
        "espalier tokenizers measure korean.txt english.txt --fit bpe:8000 --fit unigram:8000 --plot choice.png",
    )  # fmt: skip
    measure.add_argument(
        "path", nargs="+", help="a text: a file, a folder or a glob; text, JSON lines, Parquet, zip, gzip"
    )
    measure.add_argument(
        "--tokenizer", action="append", default=[], metavar="NAME",
        help="a folder or file (tokenizer.json, GPT-2's vocabulary or merges, vocab.txt), or a data set of params.yaml; "
        "may be repeated (default: the data set default, where nothing is fitted)",
    )  # fmt: skip
    measure.add_argument(
        "--fit", action="append", default=[], metavar="KIND:VOCABULARY",
        help="fit one on nine lines of ten and measure on the tenth: bpe, unigram, sentencepiece_bpe or wordpiece",
    )  # fmt: skip
    measure.add_argument("--each", action="store_true", help="a text for every file in a folder or an archive")
    measure.add_argument("--only", default="", metavar="NAME,...", help="only these files, each a text: kor,eng,jpn")
    measure.add_argument("--plot", default="", metavar="FILE.png", help="draw bytes per token and tokens per word")
    json_option(
        measure,
        '{"rows": [{"tokenizer", "vocabulary", "text", "bytes_per_token", "fertility", ...}], "measured", "plot"}',
    )
    export = add(
        verbs, "export", tokenizers_export, "write a tokenizer as transformers' AutoTokenizer reads it",
        "espalier tokenizers export default my/tokenizer",
    )  # fmt: skip
    export.add_argument("tokenizer", help="a folder with tokenizer.json, or a data set of params.yaml")
    export.add_argument("folder", help="a new folder")
    json_option(export, '{"folder", "vocabulary"}')


def data_add(options: argparse.Namespace) -> int:
    from flows.data_commands import add

    return add(
        options.path, column=options.column, corpus=options.corpus, replace=options.replace, as_json=options.json
    )


def data_label(options: argparse.Namespace) -> int:
    from flows.data_commands import label

    return label(options.path, corpus=options.corpus, replace=options.replace, as_json=options.json)


def data_look(options: argparse.Namespace) -> int:
    from flows.data_commands import look

    return look(options.path, format=options.format, as_json=options.json)


def data_instruct(options: argparse.Namespace) -> int:
    from flows.data_commands import instruct

    return instruct(
        options.path, format=options.format, corpus=options.corpus, replace=options.replace, as_json=options.json
    )


def data_list(options: argparse.Namespace) -> int:
    from flows.data_commands import list_corpora

    return list_corpora(as_json=options.json)


def generations_command(options: argparse.Namespace) -> int:
    from flows.generation_commands import generations

    return generations(options)


def tokenizers_measure(options: argparse.Namespace) -> int:
    from flows.tokenizer_commands import measure

    return measure(
        options.path, named=options.tokenizer, fits=options.fit, each=options.each, only=options.only,
        plot=options.plot, as_json=options.json,
    )  # fmt: skip


def tokenizers_export(options: argparse.Namespace) -> int:
    from flows.tokenizer_commands import export

    return export(options.tokenizer, options.folder, as_json=options.json)
