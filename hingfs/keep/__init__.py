"""Videos are brought to disk before their links expire: in which order, and by whom."""
