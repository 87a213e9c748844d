"""What would be better than a plan: asked only when a finding is reported, never while one is sought."""
