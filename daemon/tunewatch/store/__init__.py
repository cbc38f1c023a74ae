"""Tables, migrations, transactions, leases: everything that outlives the process.

Knows SQL and nothing of HTTP, providers or plugins. `opening.open_store` is the door.
"""
