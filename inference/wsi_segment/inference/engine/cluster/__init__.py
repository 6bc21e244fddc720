"""Regions on the workers of a Dask cluster: the connection, what is settled for all workers, and what runs on them."""
