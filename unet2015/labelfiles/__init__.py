"""Files of numbered cells: label images, folders of them, and track files."""
