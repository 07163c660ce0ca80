"""Training: networks, the loop, export and quantization. The only room of inkdigits that imports torch."""
