"""One thread, as for all trainings of the tests."""

from tests.decoders import one_thread

__all__ = ["one_thread"]
