"""Roost keeps Milvus collections in step with sources of documents, run by Prefect."""
