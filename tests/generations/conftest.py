"""One thread: the models here are tiny."""

from tests.decoders import one_thread

__all__ = ["one_thread"]
