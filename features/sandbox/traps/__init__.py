"""What can be wrong with a corpus, planted one at a time in a copy of its sandbox tree: so the checks are tested."""
