"""Whether a model knows what a slide looks like."""
