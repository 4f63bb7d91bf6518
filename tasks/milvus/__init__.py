"""One open Milvus: typed calls, the write gate, error mapping, filter expressions, the lock of a Milvus Lite file. May
import only the modules at the root of `tasks`.

Vocabulary: store, write gate, Lite file, lock, owner, expression.
"""
