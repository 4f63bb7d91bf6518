"""Parsers, one module a format family: bytes in, text blocks with page, title and metadata out. May import only
`text_encoding` and `media` beside it and the modules at the root of `tasks`; third-party parsers inside functions.

Vocabulary: parser, text block, page range. A new format is a module here and one line in the table of `registry.py`.
"""
