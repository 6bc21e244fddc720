"""The folders of a server: roots of slides, uploads, and masks that were not made by it."""
