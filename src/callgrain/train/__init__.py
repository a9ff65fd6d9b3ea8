"""Methods that turn rows into a better model."""
