"""The processes of a server: started, watched, replaced, and the numbers that they share."""
