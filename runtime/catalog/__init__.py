"""The models at hand, of every place, with what their headers say: for `subbyte ls`."""
