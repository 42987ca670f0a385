"""What runs the network: device, precision, backend and memory."""
