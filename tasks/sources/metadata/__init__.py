"""Metadata that a person gives to documents beside what they say themselves: rules, the kinds of fields, who gets what.

A field is a name with one value a document; a rule gives fields to the documents that it matches; the kind of a field
(text, number, date) is fixed in each index.
"""
