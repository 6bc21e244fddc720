"""Networks behind the engine: which file of a model runs where, in which precision, and the runtimes themselves."""
