"""The command line beside comparing: fit a model to a file, predict with it, look at a device."""
