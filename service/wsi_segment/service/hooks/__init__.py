"""Web hooks: messages to addresses of others when jobs and batches end."""
