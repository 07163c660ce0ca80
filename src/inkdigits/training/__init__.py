"""Training: networks, the loop, export and quantization. The only package of inkdigits that imports torch."""
