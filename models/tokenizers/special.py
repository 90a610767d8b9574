"""The tokens that are no text: their ids are the first of every vocabulary that is fitted here."""

END_OF_TEXT, PAD, TURN, END = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD, TURN, END)

# What was fitted before had a token for each role, and has it still: turns are short, and there is none for a system's.
EARLIER_USER, EARLIER_ASSISTANT, EARLIER_END = "<|user|>", "<|assistant|>", "<|end|>"
EARLIER_TOKENS = (END_OF_TEXT, PAD, EARLIER_USER, EARLIER_ASSISTANT, EARLIER_END)
