"""The commands of `parc`, one per module. The command line imports only the module of its command."""
