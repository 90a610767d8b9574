"""Loading a released model and talking to it."""
