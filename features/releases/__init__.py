"""What publishers ship: layouts and files of corpora, what was counted of them, and the strict checks."""
