"""The work: plain async functions in rooms, and one room of Prefect tasks around them."""
