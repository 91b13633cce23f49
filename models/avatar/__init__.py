"""An avatar that takes any expression: a volumetric autodecoder and diffusion in its latent."""
