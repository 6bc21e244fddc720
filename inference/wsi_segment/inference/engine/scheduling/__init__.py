"""What computes the regions of a run: the threads of this process, or the workers of a cluster."""
