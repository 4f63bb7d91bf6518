"""Files that commands read: prefect.yaml, the example documents and questions, compose and Kubernetes files."""
