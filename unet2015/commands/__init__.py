"""One module per command of the command line: its options and what it does with them."""
