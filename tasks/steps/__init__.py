"""The steps of a run, in their order: plan, select, load, chunk, embed, index, report. May import sources, models,
milvus and versions; no step imports a search or an evaluation.

Vocabulary: plan, action, batch, document, text block, chunk, refusal, quarantine, report.
"""
