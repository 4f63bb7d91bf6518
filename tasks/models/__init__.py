"""The embedding model: where it is, what runs it, the thread that owns it, and the recipe that names it. May import
only the modules at the root of `tasks`.

Vocabulary: model, revision, recipe, fingerprint, engine, embedder, window.
"""
