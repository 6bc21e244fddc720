"""What operators see of a server: metrics, and how jobs ended."""
