"""GPT-2's own tokenizer (Radford et al. 2019) from its two files: a vocabulary as JSON, and the merges in their order."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"


def load(vocabulary: Path, merges: Path) -> Tokenizer:
    """encoder.json and vocab.bpe (elsewhere vocab.json and merges.txt) -> a tokenizer, for ordinary text."""
    try:
        ids = json.loads(vocabulary.read_text(encoding="utf-8"))
        lines = merges.read_text(encoding="utf-8").splitlines()
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        tokenizer = Tokenizer(models.BPE(ids, [(left, right) for left, right in pairs]))
    except Exception as error:  # the library raises bare Exceptions
        raise ValueError(f"{vocabulary} and {merges}: not GPT-2's vocabulary and merges ({error})") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    tokenizer.encode_special_tokens = True  # see bpe.py
    return tokenizer
