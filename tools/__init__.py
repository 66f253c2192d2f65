"""What runs on a person's machine: `python3 -m tools VERB`."""
