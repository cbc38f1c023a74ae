"""tunewatch: watches every fine-tuning job of an organisation."""

__version__ = "0.1.0"
