"""The records that commands return: typed, versioned, JSON in and out."""
