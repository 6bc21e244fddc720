"""Which models there are, and what their cards say."""

from __future__ import annotations

import argparse

HELP = "List the bundled models, or show the card of one."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment models``."""
    parser.add_argument("model", nargs="?", help="name of a bundled model, or model folder: show its whole card")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print a list, or a card."""
    import json

    from wsi_segment.model.card import DEFAULT_MODEL, bundled_models, find_model

    if args.model is not None:
        model = find_model(args.model)
        for file in model.card.files:
            model.weights(file)
        print(model.card.model_dump_json(indent=2))
        return 0
    cards = [find_model(name).card for name in bundled_models()]
    if args.json:
        print(json.dumps([card.model_dump(mode="json") for card in cards], indent=2))
        return 0
    for card in cards:
        default = " (default)" if card.name == DEFAULT_MODEL else ""
        print(f"{card.name} {card.version}{default}: {card.description}")
        print(f"  {card.mpp:g} µm per pixel; {', '.join(entry.name for entry in card.classes)}")
        print(f"  {card.intended_use}")
    return 0
