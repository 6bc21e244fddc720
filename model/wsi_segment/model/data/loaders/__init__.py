"""One file a dataset layout; each turns what lies on disk into a Dataset."""
