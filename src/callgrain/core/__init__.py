"""The floor below everything: nouns, settings, the disk, plug-in lookup."""
