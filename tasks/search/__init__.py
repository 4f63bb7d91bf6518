"""Reading an index: retrieval, filters, snippets, answers, and the stores of LlamaIndex and LangChain on it. May import
models, milvus and versions.

Vocabulary: query, hit, filter, fusion, reranking, neighbour, section, snippet, answer, retriever, open index.
"""
