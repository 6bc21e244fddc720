"""One file per command: ``HELP``, ``add_arguments(parser)`` and ``run(args)``; heavy imports inside ``run``."""
