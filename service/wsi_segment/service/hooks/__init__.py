"""Web hooks: messages to other servers when jobs and batches end."""
