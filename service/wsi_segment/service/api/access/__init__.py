"""Who may ask for what, and under which address."""
