"""How the Montreal Forced Aligner is asked: its dictionary, the corpus it reads, its command, and what it wrote."""
