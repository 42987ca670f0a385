"""Resumable prediction of image files of any size.

`inputs` finds the images under a path, `preparation` checks them and chooses what runs each, `jobs`
records which are finished. `imagefile` predicts one: its tiles are `tasks`, computed here or on a
`cluster` and kept in `scratch`, from which `results` makes the result file.
"""

RECORD = ".unet2015"
"""Folder, among the results of several images, of the record of finished ones until all are."""
