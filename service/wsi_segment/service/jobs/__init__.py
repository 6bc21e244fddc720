"""The record of jobs: database, queue, events, keys."""
