"""The second rung: every gradient and parameter of the program equals that of the model on one device."""
