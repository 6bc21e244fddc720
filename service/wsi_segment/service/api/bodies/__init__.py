"""Bodies of requests: what they may say, and how they are read."""
