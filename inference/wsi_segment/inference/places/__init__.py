"""Places that a mask is written to: folders of this machine and object stores, behind one interface."""
