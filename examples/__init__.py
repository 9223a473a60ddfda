"""Small programs with txetcd; each says in its first lines how it is run."""
