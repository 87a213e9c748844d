"""Plans that parc proposes."""
