"""The HTTP interface: thin routes over the parts of the service."""
