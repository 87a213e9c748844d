"""The pages of codes that are reported elsewhere than by a rule."""
