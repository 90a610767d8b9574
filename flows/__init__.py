"""The only place where order is decided: Prefect flows, recipes and the command."""
