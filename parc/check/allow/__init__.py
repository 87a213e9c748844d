"""Findings that a comment allows: `# parc: allow P202 -- two devices are spare`."""

MARK = (
    "parc:"  # in every text with such a comment; here alone, since nothing else is imported where it is not
)
