"""Back ends behind one protocol: prompts in, replies out."""
