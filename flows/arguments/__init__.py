"""What each command of `espalier` is asked, and its door: nothing heavy is imported before a command is chosen."""
