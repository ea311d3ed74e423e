"""Why a run failed, waits, or ended as it did: a catalogue of causes, each found by what was said and where."""
