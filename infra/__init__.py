"""Where things run: this room imports nothing of ours."""
