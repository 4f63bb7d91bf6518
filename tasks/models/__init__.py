"""The embedding model and the reranker: where they are, what runs them, the threads that own them, and the recipe that
names the embedding model. May import only the modules at the root of `tasks`.

Vocabulary: model, revision, recipe, fingerprint, engine, embedder, reranker, window.
"""
