"""Family: ways in which model outputs lie recorded on disk; each undoes its own wire format."""
