"""Networks for other programs: ONNX, TorchScript and the packages of the BioImage Model Zoo."""
