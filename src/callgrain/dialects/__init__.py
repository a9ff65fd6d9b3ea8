"""How a model is spoken to: rendering prompts, writing and reading turns."""
