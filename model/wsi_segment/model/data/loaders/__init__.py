"""One file per dataset layout; each turns what lies on disk into a Dataset."""
