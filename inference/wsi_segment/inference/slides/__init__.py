"""Slides: opening them, and reading their pixels at a model's pixel size."""
