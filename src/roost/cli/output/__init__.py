"""What the commands print: tables and lines for people, progress bars, JSON. One module a subject; no commands."""
