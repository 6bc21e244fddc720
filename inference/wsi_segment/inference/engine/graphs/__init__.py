"""ONNX graphs as others make them: how pixels go in, what comes out, and a card for them."""
