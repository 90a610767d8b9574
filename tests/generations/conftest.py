"""One thread: the trainings here are tiny, and equal bytes need equal threads."""

from tests.decoders import one_thread

__all__ = ["one_thread"]
