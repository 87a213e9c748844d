"""The language server protocol: sessions, requests, and our values in its terms."""
