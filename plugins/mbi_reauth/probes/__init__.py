"""The I/O of a check: one read-only authenticated question to a third party, answered as Evidence."""
