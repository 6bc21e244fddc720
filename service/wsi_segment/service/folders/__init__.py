"""The folders of a server: roots of slides, uploads, finished masks of others."""
