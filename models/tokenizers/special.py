"""The tokens that are no text: their ids are the first of every vocabulary that is fitted here."""

END_OF_TEXT, PAD, USER, ASSISTANT, END = "<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD, USER, ASSISTANT, END)
