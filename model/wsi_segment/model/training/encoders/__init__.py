"""Where an encoder's weights come from: existing checkpoints, or images without labels."""
