"""One file per reader; each turns one library into the Slide protocol."""
