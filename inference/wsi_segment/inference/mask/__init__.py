"""Masks: the store, its pyramid and metadata, and what is read from it."""
