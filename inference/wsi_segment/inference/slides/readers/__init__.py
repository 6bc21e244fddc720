"""One file a reader; each turns one library into the Slide protocol."""
