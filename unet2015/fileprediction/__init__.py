"""From image files to result files, of any size, without ever starting over.

`inputs` says which images a path means, `jobs` what of them is done already, `imagefile` predicts
one: its tiles are `tasks`, done here or on a `cluster`, and kept in `scratch`; `results` is what
becomes of them.
"""
