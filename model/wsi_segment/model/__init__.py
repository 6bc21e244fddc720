"""What is learned: model cards, datasets, the network, its training and its metrics."""
