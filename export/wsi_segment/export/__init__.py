"""From a trained network to a model folder: the ONNX graph, its check against torch, and the card."""
