"""Tables out of other people's files: opened, unpacked, decoded, split into cells, understood."""
