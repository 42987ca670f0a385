"""What runs the network: device, precision, PyTorch or something faster, and its memory."""
