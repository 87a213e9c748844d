"""The second rung: every gradient and parameter of the program is that of the model on one device."""
