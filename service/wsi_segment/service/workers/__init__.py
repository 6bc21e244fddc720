"""Worker processes, and what they read and write."""
