"""Where what is not finite was made."""
