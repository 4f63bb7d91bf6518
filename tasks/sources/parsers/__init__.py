"""Parsers, one module a format family: bytes in, text blocks with page, title and metadata out."""
