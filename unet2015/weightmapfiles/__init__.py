"""Weight maps of label images in files of any size, and pictures of them."""
