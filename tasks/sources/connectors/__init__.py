"""Connectors: each lists the documents of one kind of place, and reads them.

Vocabulary: connector, place, connection, entry, item.
"""
