"""What needs no Prefect run: search, status, versions, archive, quantize."""
