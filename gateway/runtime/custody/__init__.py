"""What a role keeps secret: its keys, and the secret of each case."""
