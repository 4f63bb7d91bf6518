"""Prefect tasks around the plain functions: names, retries and cache policies. May import every room of `tasks`;
the only room that knows Prefect, so worker processes import the others and start fast.
"""
