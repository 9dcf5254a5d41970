"""What `VisionVerifier` is made of: answers, reasoning, and what detectors and OCR see."""
