"""The three tabs of the app, one file each."""
