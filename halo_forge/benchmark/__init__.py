"""What a model can do: pass@k with every sample kept."""
