"""Which documents exist, and their text: sources, listings, tables, encodings, parsers. May import only the modules at
the root of `tasks`.

Vocabulary: source, opened source, listing, document, URI, location, spool, table row, text block, page range.
"""
