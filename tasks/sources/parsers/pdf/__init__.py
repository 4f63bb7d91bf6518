"""The parser of PDF: pages by pypdfium2, or by pypdf where that fails; reading order, repeated lines, headings, tables.

Vocabulary: a line is a line of text with its box on the page; a gutter is the white space between two columns.
"""
