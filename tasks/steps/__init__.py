"""The way of the data, in its order: plan, select, load, chunk, embed, index, report. May import sources, models,
milvus and versions; no step imports a search or an evaluation.

Vocabulary: plan, batch, action, document, chunk, quarantine, report.
"""
