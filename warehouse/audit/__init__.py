"""Questions about what is in a lake, answered from its manifests and rows: there is no log beside the data."""
