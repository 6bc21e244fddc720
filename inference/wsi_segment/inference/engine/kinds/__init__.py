"""What is made of the network's classes before they are written."""
