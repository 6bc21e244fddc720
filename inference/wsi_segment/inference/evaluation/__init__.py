"""Scores of models and masks against masks and annotations."""
