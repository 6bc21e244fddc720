"""Where an encoder's weights come from: files of others, or images without labels."""
