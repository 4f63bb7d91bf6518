"""Files that commands need beside the code: prefect.yaml, the example corpus, the compose file."""
