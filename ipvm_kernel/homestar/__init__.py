"""Homestar's own forms: what it sends, shows and keeps, read and written as it does. Nothing here runs or connects."""
