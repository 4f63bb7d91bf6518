"""The ways to run Roost: local servers, set-up of a Prefect server, files for Docker and Kubernetes."""
