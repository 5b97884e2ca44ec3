"""Subtitles: files and streams to cues, cues to what one speaker says, and where it lies in the soundtrack."""
