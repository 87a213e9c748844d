"""One Diagnostic, many costumes."""
