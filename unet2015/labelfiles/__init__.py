"""Numbered cells in files: label images, folders of them, and the tracks of their numbers."""
