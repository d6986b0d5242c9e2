"""What a newly trained adapter is worth on held-out documents, and how its training went."""
