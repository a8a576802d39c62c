"""What of machine and installation decides how fast models run here: for `subbyte doctor`."""
