"""Which tools of many a request needs: rankings of a catalogue."""
