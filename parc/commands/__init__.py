"""The commands of `parc`, a module each: the command line imports the one that is asked for."""
