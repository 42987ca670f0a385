"""Data sets: files in, annotated frames out."""
