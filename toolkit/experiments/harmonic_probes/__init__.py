"""What do logistic and harmonic probes of frozen activations tell, and are their class centres alike in both models?"""
