"""The networks that students build: what is learned, and how it is saved."""
