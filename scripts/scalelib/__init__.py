"""What a fleet asks of an API: a formula, and a simulation that checks it."""
