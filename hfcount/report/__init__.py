"""How answers look: terminal, JSON, CSV, Markdown, figures. Nothing here computes a count."""
