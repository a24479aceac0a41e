"""What the verbs do, by what they are for: running, looking, keeping, installing."""
