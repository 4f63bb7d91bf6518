"""What documents there are, and their text: sources, listings, tables, encodings, parsers. May import only the modules
at the root of `tasks`.

Vocabulary: source, listing, document, URI, location, table row, text block, page range.
"""
