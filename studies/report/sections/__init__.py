"""The sections of summary.md, each a function from the frames to Markdown."""
