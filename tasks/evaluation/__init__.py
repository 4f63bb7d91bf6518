"""Measuring an index: questions, rankings, metrics, thresholds, history, report, client timings. May import every room
of `tasks` but the Prefect tasks.

Vocabulary: question, judgment, ranking, measure, threshold, baseline, way, timing.
"""
