"""From files to split, clean documents."""
