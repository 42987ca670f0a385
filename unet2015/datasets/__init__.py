"""Data sets: annotated frames in, training samples out."""
