"""Versions of an index: collection, ledger, recipe, alias, writer lease; promotion, pruning, verification, archive. May
import sources, models and milvus.

Vocabulary: index, version, alias, ledger, ledger format, lease, promotion, archive.
"""
