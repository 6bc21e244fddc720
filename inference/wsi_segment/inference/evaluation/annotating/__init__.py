"""Where annotating more would teach most."""
