"""Renders the source texts of the handbook as files of each format."""
