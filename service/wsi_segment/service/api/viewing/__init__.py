"""What only the viewer needs: its files, and masks that are still being made."""
