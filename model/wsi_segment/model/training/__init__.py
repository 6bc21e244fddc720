"""The network and its training; needs PyTorch."""
